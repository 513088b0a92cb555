//! The client: made once, run in one process.

use base::Json;
use serde_json::json;
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// The Python of the client's own environment; made when it is not there, or is of other versions.
fn python() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openstack-client");
    let (python, ready) = (dir.join("bin/python"), dir.join("requirements.txt"));
    if std::fs::read_to_string(&ready).is_ok_and(|have| have == REQUIREMENTS) {
        return python;
    }
    let run = |command: &mut Command, what: &str| {
        let out = command.output().unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(out.status.success(), "{what}: {}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    };
    let _gone = std::fs::remove_dir_all(&dir);
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir), "python3 -m venv (Debian package python3-venv)");
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openstack/requirements.txt");
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "-r"];
    run(Command::new(&python).args(pip).arg(list), "pip install of the OpenStack client");
    std::fs::write(ready, REQUIREMENTS).expect("the directory can be written");
    python
}

/// `openstack`, as one user or another.
pub struct OpenStack {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: i64,
    pub out: String,
    pub err: String,
}

impl OpenStack {
    /// `env`: the `OS_…` variables.
    pub fn start(env: &[(&str, &str)]) -> OpenStack {
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openstack/driver.py");
        let mut command = Command::new(python());
        command.arg(driver).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", env!("CARGO_TARGET_TMPDIR"));
        command.env("COLUMNS", "400").env("LANG", "C.UTF-8").envs(env.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
        let (stdin, stdout) = (child.stdin.take().expect("a pipe"), BufReader::new(child.stdout.take().expect("a pipe")));
        OpenStack { child, stdin, stdout }
    }

    pub fn run(&mut self, args: &[&str]) -> Outcome {
        writeln!(self.stdin, "{}", json!(args)).expect("the client listens");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the client answers");
        let answer: Json = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{args:?}: {e}: {line}"));
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_string();
        Outcome { code: answer["code"].as_i64().unwrap_or(-1), out: text("out"), err: text("err") }
    }
}

impl Drop for OpenStack {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
