//! The command line against a real platform: a child process on a free port, with a directory of its own.

use serde_json::Value as Json;
use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

struct Platform {
    child: Child,
    dir: tempfile::TempDir,
}

fn wolke(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wolke"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", dir).stdin(Stdio::null());
    command
}

impl Platform {
    fn start() -> Platform {
        let dir = tempfile::tempdir().expect("a directory");
        let up = wolke(dir.path());
        Platform::start_as(dir, up, &["--no-host"])
    }

    fn start_as(dir: tempfile::TempDir, mut up: Command, more: &[&str]) -> Platform {
        let log = std::fs::File::create(dir.path().join("log")).expect("a log");
        let child = up
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(dir.path().join("data"))
            .args(more)
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("wolke starts");
        let mut platform = Platform { child, dir };
        let started = Instant::now();
        while !platform.run("whoami").status.success() {
            let log = || std::fs::read_to_string(platform.dir.path().join("log")).unwrap_or_default();
            assert!(platform.child.try_wait().expect("a child").is_none(), "it ended: {}", log());
            assert!(started.elapsed() < PATIENCE, "not ready: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        platform
    }

    fn with(&self, env: &[(&str, &str)], line: &str) -> Output {
        let mut command = wolke(self.dir.path());
        command.env("WOLKE_DATA", self.dir.path().join("data")).envs(env.iter().copied()).args(line.split(' '));
        command.current_dir(self.dir.path()).output().expect("wolke runs")
    }

    fn run(&self, line: &str) -> Output {
        self.with(&[], line)
    }

    fn ok(&self, line: &str) -> String {
        let out = self.run(line);
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    }

    fn json(&self, line: &str) -> Json {
        serde_json::from_str(&self.ok(&format!("{line} -o json"))).expect("JSON")
    }

    fn fails(&self, line: &str) -> String {
        let out = self.run(line);
        assert_eq!(out.status.code(), Some(1), "{line}: {}", String::from_utf8_lossy(&out.stdout));
        String::from_utf8(out.stderr).expect("text")
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[test]
fn resources_are_made_listed_changed_and_deleted() {
    let p = Platform::start();
    assert_eq!(p.json("whoami")["user"], "sysadmin");

    p.ok("serversku create tiny --cpu-core-count 1 --memory-size-mb 512");
    let table = p.ok("sku list --search tiny");
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID") && lines[0].contains("CPU_CORE_COUNT") && lines.iter().any(|l| l.contains("tiny")), "{table}");
    assert_eq!(p.json("sku show tiny")["memory_size_mb"], 512);
    p.ok("sku update tiny --description small");
    assert_eq!(p.json("sku show tiny --field description")["description"], "small");
    let yaml = p.ok("sku list --search tiny --field name -o yaml");
    assert!(yaml.contains("name: tiny"), "{yaml}");
    p.ok("sku delete tiny");
    assert_eq!(p.json("sku list --search tiny").as_array().map(Vec::len), Some(0));

    // Another service, and more than one page.
    for name in ["p1", "p2", "p3"] {
        p.ok(&format!("project create {name}"));
    }
    let out = p.run("project list --limit 2 --order-by name --order asc -o json");
    let page: Json = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(page.as_array().map(Vec::len), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("--limit 0 shows all"));
    assert!(p.json("project list --limit 0").as_array().is_some_and(|all| all.len() >= 4));
    // Every service was asked what it still keeps of it.
    p.ok("project delete p3");
    assert!(p.fails("project show p3").contains("404"));
    assert!(p.json("event list --scope system --obj-type serversku --limit 0").as_array().is_some_and(|all| all.len() >= 3));
    assert!(!p.ok("network list").lines().any(|l| l.contains("no rows")) && p.ok("network list").contains("default"));
    p.ok("usage");
}

#[test]
fn mistakes_say_what_to_do() {
    let p = Platform::start();
    let missing = p.fails("server show nope");
    assert!(missing.contains("nope") && missing.contains("ResourceNotFoundError (404), request cli-"), "{missing}");
    assert!(p.fails("server create web --cpu 1 --memory 256").contains("--image"));
    let two = p.fails("sku delete nope1 nope2");
    assert!(two.contains("nope1") && two.contains("2 of 2 failed"), "{two}");

    let url = p.json_file("data/admin.json")["auth_url"].as_str().expect("a URL").to_string();
    let wrong = p.with(
        &[("OS_AUTH_URL", &url), ("OS_USERNAME", "sysadmin"), ("OS_PASSWORD", "wrong"), ("OS_PROJECT_NAME", "system")],
        "server list",
    );
    let wrong = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.contains("(401)") && wrong.contains("--domain"), "{wrong}");
    let nobody = p.with(&[("WOLKE_DATA", "/nonexistent")], "server list");
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("OS_AUTH_URL, OS_USERNAME, OS_PASSWORD"));
    let dead = p.with(&[("OS_AUTH_URL", "http://127.0.0.1:1/v3"), ("OS_USERNAME", "a"), ("OS_PASSWORD", "b")], "server list");
    assert!(String::from_utf8_lossy(&dead.stderr).contains("does the platform run"));
    assert_eq!(p.run("serversku create x").status.code(), Some(2), "clap names the missing options");
}

impl Platform {
    fn json_file(&self, name: &str) -> Json {
        serde_json::from_str(&std::fs::read_to_string(self.dir.path().join(name)).expect("a file")).expect("JSON")
    }
}

#[test]
fn a_login_is_saved_and_used() {
    let p = Platform::start();
    let admin = p.json_file("data/admin.json");
    let text = |key: &str| admin[key].as_str().expect("a text").to_string();
    let nowhere = [("WOLKE_DATA", "/nonexistent")];
    let line = format!("login --auth-url {} --user sysadmin --password {} --project system", text("auth_url"), text("password"));
    assert!(p.with(&nowhere, &line).status.success());
    assert!(p.with(&nowhere, "server list").status.success());
    assert!(p.with(&nowhere, "logout").status.success());
    assert!(!p.with(&nowhere, "server list").status.success());
    assert!(p.ok("completion bash").contains("_wolke"));
}

/// A password or a secret may begin with a dash, wherever one is taken: what follows an option is its value.
#[test]
fn secrets_that_begin_with_a_dash() {
    let p = Platform::start();
    let url = p.json_file("data/admin.json")["auth_url"].as_str().expect("a URL").to_string();
    p.ok("user create dash --password -Secret@Dash1 --description -none");
    assert_eq!(p.json("user show dash --field description")["description"], "-none");
    p.ok("project create demo");
    p.ok("role-assignment add project_owner --user dash --project demo");
    let nowhere = [("WOLKE_DATA", "/nonexistent")];
    let login = |word: &str| p.with(&nowhere, &format!("login --auth-url {url} {word}"));
    let wrong = login("--user dash --password -Secret@Dash2 --project demo");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("(401)"), "{}", String::from_utf8_lossy(&wrong.stderr));
    for word in ["--password -Secret@Dash1", "--password=-Secret@Dash1"] {
        let out = login(&format!("--user dash {word} --project demo"));
        assert!(out.status.success(), "{word}: {}", String::from_utf8_lossy(&out.stderr));
    }
    let out = p.with(&nowhere, "application-credential create robot --secret --Robot-of-Dash-1234 -o json");
    let made: Json = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr)));
    let id = made["id"].as_str().expect("an id");
    let out = login(&format!("--application-credential {id} --secret --Robot-of-Dash-1234"));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let who = p.with(&nowhere, "whoami -o json");
    let who: Json = serde_json::from_slice(&who.stdout).expect("JSON");
    assert_eq!((who["user"].as_str(), who["methods"][0].as_str()), (Some("dash"), Some("application_credential")));
}

#[test]
fn images_go_up_and_come_down_whole() {
    let p = Platform::start();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(p.dir.path().join("disk.raw"), &bytes).expect("a file");
    let made = p.json("image create blob --file disk.raw --format raw --min-ram 64");
    assert_eq!((made["name"].as_str(), made["min_ram"].as_i64()), (Some("blob"), Some(64)));
    let started = Instant::now();
    while p.json("image show blob")["status"] != "active" {
        assert!(started.elapsed() < PATIENCE, "{}", p.ok("image show blob"));
        std::thread::sleep(Duration::from_millis(100));
    }
    p.ok("image download blob --file back.raw");
    assert!(std::fs::read(p.dir.path().join("back.raw")).expect("a file") == bytes, "what came back is something else");
    assert!(p.fails("image download nope --file none.raw").contains("404"));
    assert!(!p.dir.path().join("none.raw").exists() && !p.dir.path().join("none.raw.part").exists());
}

#[test]
fn key_pairs_keep_their_private_half_once() {
    let p = Platform::start();
    p.ok("keypair create k1 --save k1.key");
    let private = std::fs::read_to_string(p.dir.path().join("k1.key")).expect("a key");
    assert!(private.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "what existing clients get when they name no scheme");
    assert!(p.fails("keypair privatekey k1").contains("fetched before"));
    assert!(p.fails("keypair create k2 --save k1.key").contains("k1.key"), "a key is not overwritten");
    assert!(p.json("host-token create")["command"].as_str().is_some_and(|c| c.contains("/compute --token ")));
    // No host: the placement fails, and waiting says why.
    std::fs::write(p.dir.path().join("disk.raw"), vec![0u8; 1 << 20]).expect("a file");
    p.ok("image create blob --file disk.raw --format raw");
    let out = p.run("server create web --image blob --cpu 1 --memory 256 --net default --keypair k1 --wait --timeout 60");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1));
    assert!(said.contains("web: 1 vCPU, 256 MiB"), "{said}");
}

/// Somebody who is not root has a platform all the same, and is told what it lacks and how to get it.
#[test]
fn platform_without_root_has_no_host() {
    let dir = tempfile::tempdir().expect("a directory");
    // In a user namespace of its own a process of root's is nobody's, and reads the same files.
    let mut up = Command::new("unshare");
    up.args(["--user", env!("CARGO_BIN_EXE_wolke")]).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    up.env("HOME", dir.path()).stdin(Stdio::null());
    let platform = Platform::start_as(dir, up, &[]);
    assert_eq!(platform.json("host list"), Json::Array(Vec::new()));
    platform.ok("project create free");
    let log = std::fs::read_to_string(platform.dir.path().join("log")).expect("a log");
    assert!(log.contains("not root: the control plane runs, but no host agent") && log.contains("sudo wolke host"), "{log}");
}

/// What stands in the way of a start is said, with what to do about it.
#[test]
fn platform_says_why_it_does_not_start() {
    let platform = Platform::start();
    let up = |args: &[&str]| {
        let out = wolke(platform.dir.path()).args(["up", "--no-host"]).args(args).output().expect("wolke runs");
        assert_eq!(out.status.code(), Some(1), "{args:?}: {}", String::from_utf8_lossy(&out.stdout));
        String::from_utf8(out.stderr).expect("text")
    };
    let (data, other) = (platform.dir.path().join("data"), platform.dir.path().join("other"));
    let (data, other) = (data.to_str().expect("a path"), other.to_str().expect("a path"));
    let said = up(&["--listen", "127.0.0.1:0", "--data", data]);
    assert!(said.contains(&format!("another wolke uses {data}")) && said.contains("--data"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let busy = taken.local_addr().expect("an address").to_string();
    let said = up(&["--listen", &busy, "--data", other]);
    assert!(said.contains(&format!("cannot listen on {busy}")) && said.contains("--listen"), "{said}");
    assert!(up(&["--listen", "127.0.0.1:0", "--data", other, "--network", "many"]).contains("--network takes a subnet"), "a network");
    // The one that runs does not mind.
    platform.ok("whoami");

    // Nobody listens where the profile points to.
    let profile = platform.dir.path().join("gone.json");
    let text = std::fs::read_to_string(platform.dir.path().join("data/admin.json")).expect("a profile");
    let mut json: Json = serde_json::from_str(&text).expect("JSON");
    json["auth_url"] = "http://127.0.0.1:1/identity/v3".into();
    std::fs::write(&profile, json.to_string()).expect("written");
    let out = platform.with(&[("WOLKE_PROFILE", profile.to_str().expect("a path"))], "server list");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(1) && said.contains("127.0.0.1:1"), "{said}");
}
