//! The provider: `idp.py`, a process that is asked in lines.

use base::Json;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Idp {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Idp {
    pub fn start() -> Idp {
        Idp::with(None)
    }

    /// One that listens too, for a browser of this person's.
    pub fn of(person: &Json) -> Idp {
        Idp::with(Some(person))
    }

    fn with(person: Option<&Json>) -> Idp {
        let folder = tempfile::tempdir().expect("a directory");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../saml/tests/platform/idp.py");
        // Debian's own Python: the package is there.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(folder.path()).args(person.map(Json::to_string)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("/usr/bin/python3 (Debian packages python3-pysaml2 and xmlsec1)");
        let (stdin, stdout) = (child.stdin.take().expect("a pipe"), BufReader::new(child.stdout.take().expect("a pipe")));
        Idp { child, stdin, stdout, _folder: folder }
    }

    fn run(&mut self, command: &Json) -> Json {
        writeln!(self.stdin, "{command}").expect("the provider listens (Debian packages python3-pysaml2 and xmlsec1)");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the provider answers");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{command}: {e}: {line:?} (Debian packages python3-pysaml2 and xmlsec1)"))
    }

    pub fn metadata(&mut self) -> Json {
        self.about()["xml"].clone()
    }

    /// `{xml, base, certificate}`: its metadata, its address, and what it signs with.
    pub fn about(&mut self) -> Json {
        self.run(&json!({"do": "metadata"}))
    }

    /// Registers a service provider; answers which are known.
    pub fn trust(&mut self, metadata: &Json) -> Json {
        self.run(&json!({"do": "trust", "xml": metadata}))["known"].clone()
    }

    /// Ann logs in where a browser was sent.
    pub fn answer(&mut self, url: &Json, more: Json) -> Json {
        self.ask(json!({"do": "answer", "url": url}), more)
    }

    pub fn ask(&mut self, mut command: Json, more: Json) -> Json {
        let ann = json!({"user": "ann-1", "sign": ["assertion"],
            "attributes": {"uid": "ann", "mail": "ann@example.org", "displayName": "Ann Example"}});
        for part in [ann, more] {
            for (key, value) in part.as_object().expect("an object") {
                command[key] = value.clone();
            }
        }
        self.run(&command)
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
