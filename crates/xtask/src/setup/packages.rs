//! Which Debian packages this project needs, why, and in which group. One line per package; nothing is installed that is not here.

/// What a package is for. A group is the unit one can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Compiling.
    Build,
    /// Building the web console.
    Console,
    /// A machine that runs guests.
    Host,
    /// Networks of guests.
    Network,
    /// Building the disk of the test guest.
    Image,
    /// PostgreSQL, beside the built-in SQLite.
    Database,
    /// Only the tests.
    Tests,
}

impl Group {
    pub const ALL: [Group; 7] = [Group::Build, Group::Console, Group::Host, Group::Network, Group::Image, Group::Database, Group::Tests];

    pub fn name(self) -> &'static str {
        match self {
            Group::Build => "build",
            Group::Console => "console",
            Group::Host => "host",
            Group::Network => "network",
            Group::Image => "image",
            Group::Database => "database",
            Group::Tests => "tests",
        }
    }

    pub fn from_name(name: &str) -> Option<Group> {
        Group::ALL.into_iter().find(|group| group.name() == name)
    }
}

pub struct Package {
    pub name: &'static str,
    pub group: Group,
    pub why: &'static str,
    /// Source packages whose parts must all have the same version.
    pub family: Option<&'static str>,
}

const fn package(group: Group, name: &'static str, why: &'static str) -> Package {
    Package { name, group, why, family: None }
}

const fn qemu(name: &'static str, why: &'static str) -> Package {
    Package { name, group: Group::Host, why, family: Some("qemu") }
}

use Group::{Build, Console, Database, Host, Image, Network, Tests};

pub const PACKAGES: &[Package] = &[
    package(Build, "gcc", "linker, and C parts of crates (ring, SQLite)"),
    package(Build, "libc6-dev", "C library headers"),
    package(Build, "make", "builds the allocator"),
    package(Build, "git", "list of the files of the repository"),
    package(Console, "nodejs", "makes the console; in tests an OpenID provider and the browser's remote control"),
    package(Console, "npm", "installs what these need from their lock files"),
    qemu("qemu-system-x86", "runs guests"),
    qemu("qemu-utils", "qemu-img: converts and checks disks"),
    qemu("qemu-block-extra", "disks over NFS, HTTP, Ceph"),
    package(Host, "ovmf", "UEFI firmware of guests"),
    package(Host, "swtpm", "TPM of guests"),
    package(Host, "e2fsprogs", "ext4 of guest disks"),
    package(Host, "xfsprogs", "XFS of guest disks"),
    package(Host, "ntfs-3g", "NTFS of guest disks"),
    package(Host, "dosfstools", "FAT of guest disks"),
    package(Host, "fdisk", "sfdisk: partitions"),
    package(Host, "gdisk", "sgdisk: GPT repair after growth"),
    package(Host, "cloud-guest-utils", "growpart: grows the last partition"),
    package(Host, "fuse3", "disks as files without kernel modules"),
    package(Host, "kmod", "modules of the host"),
    package(Network, "openvswitch-switch", "bridges and flows"),
    package(Network, "ovn-central", "OVN databases and northd"),
    package(Network, "ovn-host", "OVN on each hypervisor"),
    package(Network, "iproute2", "namespaces and links"),
    package(Network, "ethtool", "offloads of links"),
    package(Network, "nftables", "packet filter"),
    package(Network, "iptables", "packet filter, older hosts"),
    package(Image, "cpio", "initramfs of the guest"),
    package(Image, "mtools", "its boot partition, without mounting"),
    package(Image, "syslinux", "its boot loader"),
    package(Image, "syslinux-common", "its boot loader, master boot record"),
    package(Image, "syslinux-efi", "its boot loader under UEFI"),
    package(Image, "xz-utils", "compressed kernel modules"),
    package(Database, "postgresql", "second database engine; tests start their own server"),
    package(Tests, "openssh-client", "logs in to guests"),
    package(Tests, "slapd", "a real LDAP directory for identity providers"),
    package(Tests, "ldap-utils", "changes what is in it"),
    package(Tests, "nginx-light", "the front of the web console"),
    package(Tests, "libnginx-mod-http-brotli-filter", "its module for brotli"),
    package(Tests, "python3-openpyxl", "fills in and reads spreadsheets, as people's programs do"),
    package(Tests, "python3-pysaml2", "a real SAML identity provider"),
    package(Tests, "xmlsec1", "signs what it says; makes the corpus of the SAML judge"),
    package(Tests, "python3-venv", "OpenStack's command line, as a client of the identity service, and a CAS server, as its provider"),
    package(Tests, "chromium", "a browser, for the console and for logins at identity providers"),
    package(Tests, "sshpass", "logs in with a password"),
    package(Tests, "genisoimage", "drives with guest metadata"),
    package(Tests, "iputils-ping", "reaches guests"),
    package(Tests, "iputils-arping", "address conflicts"),
    package(Tests, "tcpdump", "looks at traffic"),
    package(Tests, "socat", "joins sockets"),
    package(Tests, "ipmitool", "second opinion on IPMI"),
    package(Tests, "tftp-hpa", "second opinion on TFTP"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_package_twice_and_every_group_used() {
        let mut names: Vec<_> = PACKAGES.iter().map(|p| p.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert!(Group::ALL.iter().all(|group| PACKAGES.iter().any(|p| p.group == *group)));
        assert_eq!(Group::from_name("network"), Some(Group::Network));
    }
}
