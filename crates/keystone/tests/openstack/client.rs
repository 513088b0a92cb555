//! The client: made once, run in one process.

use base::Json;
use serde_json::json;
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const REQUIREMENTS: &str = include_str!("requirements.txt");

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
        let mut command = Command::new(crate::python::with("openstack-client", REQUIREMENTS));
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
