//! Providers and a browser, run by Node: installed once from the lock file into the build's directory, one process for each test.

use base::Json;
use serde_json::json;
use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const FILES: [(&str, &str); 5] = [
    ("package.json", include_str!("provider/package.json")),
    ("package-lock.json", include_str!("provider/package-lock.json")),
    ("provider.mjs", include_str!("provider/provider.mjs")),
    ("cas.mjs", include_str!("provider/cas.mjs")),
    ("driver.mjs", include_str!("provider/driver.mjs")),
];

/// The directory with everything installed; made when it is not there, or is of other versions.
fn installed() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sso-provider");
    std::fs::create_dir_all(&dir).expect("a directory");
    // Tests run at once, in processes of their own.
    let lock = File::create(dir.join("lock")).expect("a file");
    lock.lock().expect("locked");
    let same = |(name, text): &(&str, &str)| std::fs::read_to_string(dir.join(name)).is_ok_and(|have| have == *text);
    let ready = dir.join("ready");
    if !ready.exists() || !FILES[..2].iter().all(same) {
        let _gone = std::fs::remove_file(&ready);
        FILES[..2].iter().for_each(|(name, text)| std::fs::write(dir.join(name), text).expect("written"));
        let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
        let out = Command::new("npm").args(npm).current_dir(&dir).output().expect("npm (Debian package npm)");
        assert!(out.status.success(), "npm ci: {}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        std::fs::write(&ready, "").expect("written");
    }
    for (name, text) in FILES[2..].iter().filter(|file| !same(file)) {
        std::fs::write(dir.join(name), text).expect("written");
    }
    dir
}

pub struct Node {
    child: Child,
    /// Closed when the test is over.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// The provider's address.
    pub issuer: String,
    /// Where browsers arrive, registered at the provider.
    pub landing: String,
}

pub const SECRET: &str = "a client's secret & more";

impl Node {
    /// A provider that lets browsers go back to these addresses, and to [`Node::landing`].
    pub fn start(redirect_uris: &[String]) -> Node {
        let mut command = Command::new("node");
        command.arg("driver.mjs").current_dir(installed()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("node (Debian package nodejs)");
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("a pipe")));
        let mut node = Node { child, stdin, stdout, issuer: String::new(), landing: String::new() };
        let begun = node.run("provider", json!({"redirect_uris": redirect_uris, "secret": SECRET}));
        let text = |key: &str| begun[key].as_str().expect("an address").to_string();
        (node.issuer, node.landing) = (text("issuer"), text("landing"));
        node
    }

    pub fn run(&mut self, command: &str, mut wish: Json) -> Json {
        wish["command"] = command.into();
        writeln!(self.stdin.as_mut().expect("open"), "{wish}").expect("node listens");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("node answers");
        let answer: Json = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{command}: {e}: {line}"));
        assert!(answer["error"].is_null(), "{}", answer["error"].as_str().unwrap_or_default());
        answer
    }

    pub fn person(&mut self, id: &str, claims: Json) {
        self.run("person", json!({"id": id, "claims": claims}));
    }

    pub fn forge(&mut self, how: Option<&str>) {
        self.run("forge", json!({ "how": how }));
    }

    /// Opens an address, logs in when the provider asks, and answers the address at which the browser arrives.
    pub fn walk(&mut self, url: &str, until: &str, user: &str) -> String {
        self.run("walk", json!({"url": url, "until": until, "user": user}))["url"].as_str().expect("an address").to_string()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It closes its browser when nobody speaks to it any more; then it is given a while.
        self.stdin = None;
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
