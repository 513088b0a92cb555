//! A real OpenLDAP server of one's own, on loopback ports, with its data in a temporary directory; gone with its handle.

use http::ca::Ca;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const SUFFIX: &str = "dc=example,dc=org";
const ADMIN: &str = "cn=admin,dc=example,dc=org";
pub const SERVICE: &str = "cn=wolke,dc=example,dc=org";
pub const SERVICE_PASSWORD: &str = "Service@1";

pub struct Slapd {
    pub plain: u16,
    pub tls: u16,
    /// The CA its certificate comes from, PEM.
    pub ca: String,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Slapd {
    /// Starts a server that holds the entries of an LDIF text besides its own top.
    pub fn start(ldif: &str) -> Slapd {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name).display().to_string();
        let ca = Ca::load_or_create(&dir.path().join("ca"), base::Clock::real()).expect("a CA");
        let cert = ca.server(&[], &[IpAddr::V4(Ipv4Addr::LOCALHOST)]).expect("a certificate");
        std::fs::write(at("cert.pem"), &cert.cert).expect("written");
        std::fs::write(at("key.pem"), &cert.key).expect("written");
        std::fs::write(at("ca.pem"), ca.pem()).expect("written");
        std::fs::create_dir(at("db")).expect("a directory");
        // The limit is what a directory of the world has: whoever does not page gets an error and not the first entries.
        let conf = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\ninclude /etc/ldap/schema/inetorgperson.schema\n\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {pid}\n\
             TLSCACertificateFile {ca}\nTLSCertificateFile {cert}\nTLSCertificateKeyFile {key}\n\
             sizelimit size.soft=500 size.hard=500 size.prtotal=unlimited\n\
             database mdb\nmaxsize 1073741824\nsuffix \"{SUFFIX}\"\nrootdn \"{ADMIN}\"\nrootpw secret\ndirectory {db}\ndbnosync\n\
             index objectClass eq\nindex uid eq\nindex cn eq\n",
            pid = at("slapd.pid"),
            ca = at("ca.pem"),
            cert = at("cert.pem"),
            key = at("key.pem"),
            db = at("db"),
        );
        std::fs::write(at("slapd.conf"), conf).expect("written");
        let mut all = format!(
            "dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n\
             dn: {SERVICE}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: wolke\nuserPassword: {SERVICE_PASSWORD}\n\n\
             dn: ou=people,{SUFFIX}\nobjectClass: organizationalUnit\nou: people\n\n\
             dn: ou=groups,{SUFFIX}\nobjectClass: organizationalUnit\nou: groups\n\n"
        );
        all.push_str(ldif);
        std::fs::write(at("all.ldif"), all).expect("written");
        let loaded = Command::new("/usr/sbin/slapadd").args(["-q", "-f", &at("slapd.conf"), "-l", &at("all.ldif")]).output();
        let loaded = loaded.expect("these tests need OpenLDAP: install the Debian packages `slapd` and `ldap-utils`");
        assert!(loaded.status.success(), "slapadd: {}", String::from_utf8_lossy(&loaded.stderr));
        let port = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let mut server = Slapd { plain: 0, tls: 0, ca: ca.pem().to_string(), dir, child: None };
        for _ in 0..20 {
            (server.plain, server.tls) = (port(), port());
            if server.comes_up() {
                return server;
            }
            // Somebody else was given one of the ports since.
        }
        panic!("slapd ends as soon as it starts");
    }

    /// Starts the process again after [`Slapd::down`], at the same ports.
    pub fn up(&mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        while !self.comes_up() {
            assert!(Instant::now() < until, "slapd ends as soon as it starts");
        }
    }

    /// Whether the process serves; it ends when it does not get its ports.
    fn comes_up(&mut self) -> bool {
        let conf = self.dir.path().join("slapd.conf");
        let urls = format!("ldap://127.0.0.1:{}/ ldaps://127.0.0.1:{}/", self.plain, self.tls);
        let mut child = Command::new("/usr/sbin/slapd");
        child.arg("-d0").arg("-f").arg(conf).args(["-h", &urls]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("slapd starts");
        let until = Instant::now() + Duration::from_secs(60);
        // It binds both before it serves either.
        loop {
            if child.try_wait().expect("its state").is_some() {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.plain)).is_ok() && child.try_wait().expect("its state").is_none() {
                break;
            }
            assert!(Instant::now() < until, "slapd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child = Some(child);
        true
    }

    /// Ends the process; its data stay.
    pub fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.plain)
    }

    /// Changes entries as an administrator would.
    pub fn modify(&self, ldif: &str) {
        let mut command = Command::new("ldapmodify");
        command.args(["-x", "-H", &self.url(), "-D", ADMIN, "-w", "secret"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("install the Debian package `ldap-utils`");
        child.stdin.take().expect("an input").write_all(ldif.as_bytes()).expect("written");
        let done = child.wait_with_output().expect("an end");
        assert!(done.status.success(), "ldapmodify: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.down();
    }
}

/// The entry of a person; its password is its name with `@Pass1`.
pub fn person(uid: &str, more: &str) -> String {
    let rdn: String =
        uid.chars().flat_map(|c| if c.is_alphanumeric() { vec![c] } else { format!("\\{:02x}", c as u32).chars().collect() }).collect();
    let mut out = String::new();
    write!(
        out,
        "dn: uid={rdn},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\nuserPassword: {uid}@Pass1\n{more}\n"
    )
    .expect("a text");
    out
}

/// The entry of a group; members as `uid=..` or `cn=..` of its neighbours.
pub fn group(cn: &str, members: &[String]) -> String {
    let mut out = format!("dn: cn={cn},ou=groups,{SUFFIX}\nobjectClass: groupOfNames\ncn: {cn}\n");
    for member in members {
        let tree = if member.starts_with("uid=") { "people" } else { "groups" };
        writeln!(out, "member: {member},ou={tree},{SUFFIX}").expect("a text");
    }
    out.push('\n');
    out
}
