//! One guest under QEMU with user networking, driven from outside: console, QMP, guest agent, SSH. And a metadata service of a few
//! fixed answers.

use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// For anything the guest does: it is emulated, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// Another for each exchange with the guest's agent: an answer that comes late is nobody's.
static NEXT: AtomicU64 = AtomicU64::new(1);

fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {} s for {what}", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(50));
    }
}

pub struct Key {
    pub public: String,
    private: PathBuf,
}

pub fn key_pair(dir: &Path) -> Key {
    let private = dir.join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&private).status();
    assert!(made.expect("ssh-keygen (package openssh-client)").success());
    let public = fs::read_to_string(private.with_extension("pub")).expect("the public key");
    Key { public: public.trim().to_string(), private }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    Iso9660,
    Fat,
}

/// A drive with a label and some files.
pub fn metadata_drive(dir: &Path, form: Drive, label: &str, files: &[(&str, &str)]) -> PathBuf {
    let tree = dir.join("drive.d");
    for (name, text) in files {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    let image = dir.join("drive");
    if form == Drive::Iso9660 {
        let made = Command::new("genisoimage").args(["-quiet", "-J", "-r", "-V", label, "-o"]).arg(&image).arg(&tree).status();
        assert!(made.expect("genisoimage (package genisoimage)").success());
    } else {
        File::create(&image).and_then(|file| file.set_len(1 << 20)).expect("a file");
        assert!(
            Command::new("mkfs.fat")
                .args(["-n", label])
                .arg(&image)
                .stdout(Stdio::null())
                .status()
                .expect("mkfs.fat (package dosfstools)")
                .success()
        );
        for entry in fs::read_dir(&tree).expect("the files").flatten() {
            let copied = Command::new("mcopy").arg("-s").arg("-i").arg(&image).arg(entry.path()).arg("::/").status();
            assert!(copied.expect("mcopy (package mtools)").success());
        }
    }
    image
}

/// Answers GET with fixed texts, 404 for the rest.
pub struct Cloud {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Cloud {
    pub fn start(answers: &[(&str, &str)]) -> Cloud {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let answers: HashMap<String, String> = answers.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        // Lives as long as the test process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, log) = (answers.clone(), log.clone());
                thread::spawn(move || answer(stream, &answers, &log));
            }
        });
        Cloud { port, asked }
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the log").clone()
    }
}

/// A peer that goes away is its own affair: the guest asks again.
fn answer(mut stream: TcpStream, answers: &HashMap<String, String>, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 || line.trim().is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1)?.to_string();
    log.lock().expect("the log").push(path.clone());
    let (status, body) = answers.get(&path).map_or(("404 Not Found", ""), |text| ("200 OK", text.as_str()));
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    Bios,
    Uefi,
}

pub struct Guest {
    qemu: Child,
    dir: PathBuf,
    ssh_port: u16,
    qmp: BufReader<UnixStream>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("console:\n{}", self.console());
        }
        // Gone already when the test went well.
        self.qemu.kill().ok();
        self.qemu.wait().ok();
    }
}

impl Guest {
    pub fn boot(dir: &Path, firmware: Firmware, cloud: Option<&Cloud>, drives: &[PathBuf]) -> Guest {
        let image = xtask::guest_image::build().expect("the guest image");
        let disk = dir.join("disk.qcow2");
        let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(&image).arg(&disk).status();
        assert!(made.expect("qemu-img (package qemu-utils)").success());
        // QEMU takes the port itself, so another process could have it by then: then it ends at once, and another port is tried.
        for _ in 0..5 {
            let ssh_port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
            if let Some(guest) = Guest::start(dir, &disk, ssh_port, firmware, cloud, drives) {
                return guest;
            }
        }
        panic!("QEMU did not start: {}", fs::read_to_string(dir.join("qemu.log")).unwrap_or_default());
    }

    fn start(dir: &Path, disk: &Path, ssh_port: u16, firmware: Firmware, cloud: Option<&Cloud>, drives: &[PathBuf]) -> Option<Guest> {
        let path = |name: &str| dir.join(name).display().to_string();
        let machine = if firmware == Firmware::Uefi { "q35,smm=off" } else { "pc" };
        let mut command = Command::new("qemu-system-x86_64");
        let memory = if firmware == Firmware::Uefi { "256" } else { "128,slots=2,maxmem=1G" };
        command.args(["-machine", machine, "-accel", "tcg", "-cpu", "max", "-smp", "1,maxcpus=2", "-m", memory]);
        command.args(["-display", "none", "-nodefaults", "-monitor", "none", "-serial", &format!("file:{}", path("console"))]);
        command.args(["-qmp", &format!("unix:{},server=on,wait=off", path("qmp"))]);
        command.args(["-blockdev", &format!("driver=qcow2,node-name=root,file.driver=file,file.filename={}", disk.display())]);
        command.args(["-device", "virtio-blk-pci,drive=root,disable-legacy=on,bootindex=1"]);
        for (number, drive) in drives.iter().enumerate() {
            command.args([
                "-blockdev",
                &format!("driver=raw,read-only=on,node-name=d{number},file.driver=file,file.filename={}", drive.display()),
            ]);
            command.args(["-device", &format!("virtio-blk-pci,drive=d{number},disable-legacy=on")]);
        }
        if firmware == Firmware::Uefi {
            let variables = path("vars.fd");
            fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).expect("UEFI variables (package ovmf)");
            command.args(["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"]);
            command.args(["-drive", &format!("if=pflash,format=raw,file={variables}")]);
        }
        // The guest's own network holds the address of the metadata service; each connection to it becomes a process that joins it to ours.
        let mut net = format!("user,id=n0,net=169.254.169.0/24,hostfwd=tcp:127.0.0.1:{ssh_port}-:22");
        if let Some(cloud) = cloud {
            net.push_str(&format!(",guestfwd=tcp:169.254.169.254:80-cmd:socat - TCP:127.0.0.1:{}", cloud.port));
        }
        command.args(["-netdev", &net, "-device", "virtio-net-pci,netdev=n0,romfile="]);
        command.args(["-device", "virtio-serial-pci", "-chardev", &format!("socket,path={},server=on,wait=off,id=qga0", path("agent"))]);
        command.args(["-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"]);
        let log = File::create(dir.join("qemu.log")).expect("a log");
        for stale in ["qmp", "agent"] {
            fs::remove_file(dir.join(stale)).ok();
        }
        let mut qemu = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .spawn()
            .expect("qemu-system-x86_64 (package qemu-system-x86)");
        let stream = until("QMP", || match UnixStream::connect(dir.join("qmp")) {
            Ok(stream) => Some(Some(stream)),
            Err(_) => qemu.try_wait().expect("a child").map(|_| None),
        });
        let stream = stream?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut guest = Guest { qemu, dir: dir.to_path_buf(), ssh_port, qmp: BufReader::new(stream) };
        guest.read_qmp(|message| message.get("QMP").is_some());
        guest.qmp("qmp_capabilities", serde_json::json!({}));
        Some(guest)
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("console")).unwrap_or_default()).replace('\r', "")
    }

    /// Waits for a line of the guest for machines.
    pub fn event(&mut self, name: &str) -> Value {
        self.event_where(name, |_| true)
    }

    pub fn event_where(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(name, || {
            let console = self.console();
            let mut events = console.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("@guest ")?).ok());
            events.find(|event| event["event"] == name && wanted(event))
        })
    }

    pub fn console_shows(&self, text: &str) {
        until(text, || self.console().contains(text).then_some(()));
    }

    fn read_qmp(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.qmp.read_line(&mut line).expect("QMP in time") > 0, "QEMU closed QMP");
            let message: Value = serde_json::from_str(&line).expect("JSON");
            assert!(message.get("error").is_none(), "{message}");
            if wanted(&message) {
                return message;
            }
        }
    }

    pub fn qmp(&mut self, command: &str, arguments: Value) -> Value {
        let request = serde_json::json!({"execute": command, "arguments": arguments});
        writeln!(self.qmp.get_mut(), "{request}").expect("QMP takes it");
        self.read_qmp(|message| message.get("return").is_some())["return"].take()
    }

    /// A command of the guest agent and its answer.
    pub fn agent(&self, command: &str, arguments: Value) -> Value {
        until(command, || {
            let mut stream = UnixStream::connect(self.dir.join("agent")).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
            // What a broken-off exchange left behind ends with the answer to a number of our own.
            let mark = u64::from(std::process::id()) << 16 | NEXT.fetch_add(1, Ordering::Relaxed);
            writeln!(stream, "\u{1}{}", serde_json::json!({"execute": "guest-sync", "arguments": {"id": mark}})).ok()?;
            let mut reader = BufReader::new(stream.try_clone().ok()?);
            let mut answer = || -> Option<Value> {
                let mut line = String::new();
                reader.by_ref().take(1 << 20).read_line(&mut line).ok()?;
                serde_json::from_str(&line).ok()
            };
            while answer()?["return"] != mark {}
            writeln!(stream, "{}", serde_json::json!({"execute": command, "arguments": arguments})).ok()?;
            let reply = answer()?;
            assert!(reply.get("error").is_none(), "{command}: {reply}");
            Some(reply["return"].clone())
        })
    }

    /// What a command printed, or why the login or the command failed.
    pub fn ssh_with_key(&self, key: &Key, command: &str) -> Result<String, String> {
        let mut ssh = Command::new("ssh");
        ssh.arg("-i").arg(&key.private).args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        self.ssh(ssh, command)
    }

    pub fn ssh_with_password(&self, password: &str, command: &str) -> Result<String, String> {
        let mut ssh = Command::new("sshpass");
        ssh.env("SSHPASS", password).args(["-e", "ssh", "-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1"]);
        self.ssh(ssh, command)
    }

    fn ssh(&self, mut ssh: Command, command: &str) -> Result<String, String> {
        ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
        ssh.args(["-o", "ConnectTimeout=120", "-p", &self.ssh_port.to_string(), "root@127.0.0.1", command]);
        let out = ssh.stdin(Stdio::null()).output().expect("ssh and sshpass (packages openssh-client, sshpass)");
        if out.status.success() {
            Ok(String::from_utf8_lossy(&out.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&out.stderr).into_owned())
        }
    }

    /// Waits for QEMU to end by itself, without an error.
    pub fn ended(&mut self) {
        let status = until("QEMU to end", || self.qemu.try_wait().expect("a child"));
        assert!(status.success(), "{status}: {}", fs::read_to_string(self.dir.join("qemu.log")).unwrap_or_default());
    }
}
