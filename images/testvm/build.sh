#!/bin/bash
# build.sh OUT.qcow2 - builds the disk of a small real Linux guest for tests, from Debian packages only.
#
#   GPT: p1 ESP (FAT16: kernel, initramfs, syslinux for BIOS and for UEFI) | p2 root (ext4, last, so that it can be grown)
#
# Debian's cloud kernel, busybox as userland, dropbear, qemu-guest-agent. What the guest does is in README.md; its files are
# in rootfs/ and initramfs/.
#
# Packages of the guest are fetched with `apt-get download` (nothing is installed by this script) into debs/ beside OUT.
# The machine needs: cpio dosfstools dpkg e2fsprogs fdisk kmod mtools qemu-utils syslinux syslinux-common syslinux-efi xz-utils.
# `cargo xtask setup` installs them. No mount, loop device or NBD is used. Root is needed for the owners of the files; another
# user needs fakeroot.
#
# Does nothing when OUT was made from the same script, files and package versions (OUT.stamp). Two at a time wait for each other.
set -euo pipefail
export PATH=$PATH:/sbin:/usr/sbin LC_ALL=C
umask 022

say() { printf 'testvm: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ $# = 1 ] || die "usage: build.sh OUT.qcow2"
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || die "needs Debian on amd64"
if [ "$(id -u)" != 0 ]; then
    command -v fakeroot >/dev/null || die "run as root, or install fakeroot"
    exec fakeroot -- "$0" "$@"
fi

here=$(dirname "$(realpath "$0")")
mkdir -p "$(dirname "$1")"
out=$(realpath -m "$1")
debs=$(dirname "$out")/debs
exec 9> "$out.lock"
flock 9

# --- What goes in, and whether that has changed ---------------------------------------------------------------------------------

# The programs, the kernel, and every library package below them, each as NAME=VERSION. Two calls: apt may have to parse its
# lists anew in each.
versions() {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
        linux-image-cloud-amd64 dropbear-bin qemu-guest-agent 2>/dev/null |
        awk '/^[a-z0-9]/ { package = $1 }
             /^ .*Depends: [a-z0-9]/ { needs[package] = needs[package] " " $2 }
             function add(name) { if (!seen[name]++) queue[last++] = name }
             END {
                 if (split(needs["linux-image-cloud-amd64"], kernel) < 1) exit 1
                 print kernel[1]; print "busybox-static"
                 add("dropbear-bin"); add("qemu-guest-agent")
                 for (at = 0; at < last; at++) {
                     print queue[at]
                     count = split(needs[queue[at]], next_ones)
                     for (i = 1; i <= count; i++) if (next_ones[i] ~ /^(lib|zlib1g$)/) add(next_ones[i])
                 }
             }' | xargs apt-cache show --no-all-versions 2>/dev/null |
        awk '$1 == "Package:" { name = $2 } $1 == "Version:" { print name "=" $2 }' | sort -u
}

# The stamp: what this script is | what apt's lists were | the packages. Same lists, same packages: no need to ask apt.
script_sum=$(cd "$here" && find build.sh initramfs rootfs -type f | sort | xargs sha256sum | sha256sum | cut -d' ' -f1)
lists_sum=$(find /var/lib/apt/lists /etc/apt -type f \( -name '*_Packages*' -o -path '/etc/apt/*' \) -printf '%p %s %T@\n' 2>/dev/null |
    sort | sha256sum | cut -d' ' -f1)
old=$(cat "$out.stamp" 2>/dev/null || true)
if [ -e "$out" ] && [ "${old%%$'\n'*}" = "$script_sum $lists_sum" ]; then exit 0; fi
if ! packages=$(versions); then
    # No package lists on this machine: an image of this script is as good as can be had.
    if [ -e "$out" ] && [ "${old%% *}" = "$script_sum" ]; then exit 0; fi
    die "apt knows no linux-image-cloud-amd64; run: apt-get update"
fi
stamp="$script_sum $lists_sum"$'\n'"$packages"
if [ -e "$out" ] && [ "${old%% *}" = "$script_sum" ] && [ "${old#*$'\n'}" = "$packages" ]; then
    printf '%s' "$stamp" > "$out.stamp"
    exit 0
fi

missing=
for pair in cpio:cpio debugfs:e2fsprogs depmod:kmod mcopy:mtools mke2fs:e2fsprogs mkfs.fat:dosfstools qemu-img:qemu-utils \
    sfdisk:fdisk syslinux:syslinux xz:xz-utils; do
    command -v "${pair%%:*}" >/dev/null || missing+=" ${pair##*:}"
done
for pair in /usr/lib/syslinux/mbr/gptmbr.bin:syslinux-common /usr/lib/SYSLINUX.EFI/efi64/syslinux.efi:syslinux-efi; do
    [ -e "${pair%%:*}" ] || missing+=" ${pair##*:}"
done
[ -z "$missing" ] || die "missing packages:$missing"

work=$(mktemp -d "$out.build.XXXXXX")
trap 'rm -rf "${work:?}"' EXIT
root=$work/root
tree=$work/tree

# --- Packages -------------------------------------------------------------------------------------------------------------------

mkdir -p "$debs" "$tree" "$root"
wanted=()
while IFS='=' read -r name version; do
    file=${name}_${version//:/%3a}_amd64.deb
    wanted+=("$file")
    [ -e "$debs/$file" ] || (cd "$debs" && say "fetching $name $version" && apt-get download -qq "$name=$version" 2>"$work/apt.log") ||
        { cat "$work/apt.log" >&2; die "cannot fetch $name"; }
done <<< "$packages"
for file in "$debs"/*.deb; do
    case " ${wanted[*]} " in *" ${file##*/} "*) dpkg-deb -x "$file" "$tree" ;; *) rm -f "$file" ;; esac
done
kernel=$(basename "$tree"/boot/vmlinuz-*)
kernel=${kernel#vmlinuz-}
say "kernel $kernel"

# --- Modules: only the wanted ones and what they need ---------------------------------------------------------------------------

modules=$tree/lib/modules/$kernel
[ -d "$modules" ] || modules=$tree/usr/lib/modules/$kernel
# busybox loads no compressed modules.
find "$modules" -name '*.ko.xz' -exec xz -d {} +
base=${modules%/lib/modules/*}
depmod -b "$base" "$kernel"
# with_needs MODULE...: paths below the module directory, needed ones first; modules that are built in or absent give nothing
with_needs() {
    local name
    for name in "$@"; do modprobe -d "$base" -S "$kernel" --show-depends "$name" 2>/dev/null || true; done |
        sed -n "s:^insmod .*/lib/modules/$kernel/\([^ ]*\).*:\1:p" | awk '!seen[$0]++'
}
disk=(virtio_pci virtio_blk virtio_scsi sd_mod nvme ata_piix ata_generic)
rest=(virtio_net virtio_console virtio-rng virtio_balloon virtio_mem virtio_input e1000 e1000e vmxnet3 button evdev sr_mod isofs vfat
    nls_ascii nls_cp437 nls_iso8859-1 nls_utf8)
# install_modules DIR MODULE...
install_modules() {
    local to=$1/lib/modules/$kernel path
    shift
    mkdir -p "$to"
    cp "$modules"/modules.{order,builtin,builtin.modinfo} "$to/"
    with_needs "$@" | while read -r path; do install -D -m 644 "$modules/$path" "$to/$path"; done
    depmod -b "${to%/lib/modules/*}" "$kernel"
    rm -f "$to"/modules.{order,builtin,builtin.modinfo,builtin.bin,builtin.alias.bin,dep.bin,alias.bin,symbols,symbols.bin,softdep,devname,weakdep}
}

# --- Root file system -----------------------------------------------------------------------------------------------------------

mkdir -p "$root"/{bin,sbin,dev,proc,sys,run,tmp,mnt,boot,home,root,lib64,lib/x86_64-linux-gnu,lib/modules,usr/bin,usr/sbin,usr/lib,etc/dropbear,var/log,var/lib}
chmod 700 "$root/root"
chmod 1777 "$root/tmp"
ln -s /run "$root/var/run"
busybox=$(find "$tree" -path '*bin/busybox' -type f)
install -m 755 "$busybox" "$root/bin/busybox"
"$busybox" --list-full | while read -r applet; do
    case $applet in usr/* | bin/* | sbin/*) ;; *) applet=bin/$applet ;; esac
    [ -e "$root/$applet" ] || ln -s /bin/busybox "$root/$applet"
done
ln -sf /bin/busybox "$root/sbin/init"

# Programs and the libraries the loader says they need, all into one directory.
loader=$(find "$tree" -name 'ld-linux-x86-64.so.2' -path '*lib*' | sort | awk 'NR == 1')
libraries=$(find "$tree" -name '*.so.*' -printf '%h\n' | sort -u | paste -sd:)
for program in usr/sbin/dropbear usr/bin/dropbearkey usr/bin/dbclient usr/sbin/qemu-ga; do
    install -D -m 755 "$tree/$program" "$root/$program"
    "$(realpath "$loader")" --library-path "$libraries" --list "$tree/$program" | awk '$3 ~ /^\// { print $3 }'
done | sort -u | while read -r library; do install -m 644 "$library" "$root/lib/x86_64-linux-gnu/"; done
install -m 755 "$(realpath "$loader")" "$root/lib64/ld-linux-x86-64.so.2"

install_modules "$root" "${disk[@]}" "${rest[@]}"
cp -r "$here/rootfs/." "$root/"
find "$root/etc" "$root/usr/lib/guest" "$root/usr/share" -type f -perm /111 -exec chmod 755 {} +
chmod 600 "$root/etc/shadow"

# --- Initramfs ------------------------------------------------------------------------------------------------------------------

initramfs=$work/initramfs
mkdir -p "$initramfs"/{bin,dev,proc,sys,new}
install -m 755 "$busybox" "$initramfs/bin/busybox"
ln -s busybox "$initramfs/bin/sh"
install_modules "$initramfs" "${disk[@]}"
install -m 755 "$here/initramfs/init" "$initramfs/init"
(cd "$initramfs" && find . | sort | cpio --quiet -o -H newc --reproducible -R 0:0) | gzip -9n > "$work/initrd"

# --- Boot partition -------------------------------------------------------------------------------------------------------------

# Under emulation every test and probe the kernel leaves out is a noticeable part of the boot.
cmdline="root=LABEL=testroot console=tty0 console=ttyS0,115200 panic=10 quiet net.ifnames=0 memhp_default_state=online
mitigations=off nokaslr audit=0 apparmor=0 selinux=0 cryptomgr.notests random.trust_cpu=on no_timer_check tsc=reliable
8250.nr_uarts=1 i8042.noaux rcupdate.rcu_expedited=1"
esp_mib=22 root_mib=40
esp=$work/esp.img
truncate -s ${esp_mib}M "$esp"
mkfs.fat -F 16 -h 2048 -n TESTBOOT -i 7e57ab1e "$esp" >/dev/null
printf 'DEFAULT guest\nPROMPT 0\nLABEL guest\n LINUX /vmlinuz\n INITRD /initrd\n APPEND %s\n' "$(echo $cmdline)" > "$work/syslinux.cfg"
mcopy -i "$esp" "$tree/boot/vmlinuz-$kernel" ::/vmlinuz
mcopy -i "$esp" "$work/initrd" "$work/syslinux.cfg" ::/
syslinux --install "$esp"
mmd -i "$esp" ::/EFI ::/EFI/BOOT
mcopy -i "$esp" /usr/lib/SYSLINUX.EFI/efi64/syslinux.efi ::/EFI/BOOT/BOOTX64.EFI
mcopy -i "$esp" /usr/lib/syslinux/modules/efi64/ldlinux.e64 ::/EFI/BOOT/

# --- Disk -----------------------------------------------------------------------------------------------------------------------

image=$work/disk.raw
truncate -s $((1 + esp_mib + root_mib + 1))M "$image"
sfdisk -q "$image" <<EOF
label: gpt
label-id: 7E57AB1E-0000-4000-8000-000000000001
start=1MiB, size=${esp_mib}MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=esp, attrs=LegacyBIOSBootable
start=$((1 + esp_mib))MiB, size=${root_mib}MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=root
EOF
truncate -s ${root_mib}M "$work/root.img"
# Metadata checksums are left as every tool since 2015 understands them; the journal is the smallest.
mke2fs -q -t ext4 -L testroot -U 7e57ab1e-0000-4000-8000-000000000002 -b 4096 -m 0 -O ^metadata_csum_seed,^orphan_file -J size=4 \
    -E root_owner=0:0 -d "$root" "$work/root.img"
dd if=/usr/lib/syslinux/mbr/gptmbr.bin of="$image" bs=440 count=1 conv=notrunc status=none
dd if="$esp" of="$image" bs=1M seek=1 conv=notrunc,sparse status=none
dd if="$work/root.img" of="$image" bs=1M seek=$((1 + esp_mib)) conv=notrunc,sparse status=none

# A new file, renamed into place: a running guest may still have the old one open.
qemu-img convert -q -O qcow2 -c "$image" "$out.new"
rm -f "$out.stamp"
mv -f "$out.new" "$out"
printf '%s' "$stamp" > "$out.stamp"
say "$out: $(stat -c %s "$out") bytes, root file system $(du -sm "$root" | cut -f1) MiB of $root_mib"
