//! Programs written in Python, each in an environment of its own inside the build's directory.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

/// The Python of an environment with exactly these packages (`requirements.txt`, every one named); made when it is not there, or is of other versions.
pub fn with(name: &str, requirements: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    // Tests run at once, in processes of their own.
    let lock = File::create(dir.with_extension("lock")).expect("a file");
    lock.lock().expect("locked");
    let (python, ready) = (dir.join("bin/python"), dir.join("requirements.txt"));
    if std::fs::read_to_string(&ready).is_ok_and(|have| have == requirements) {
        return python;
    }
    let run = |command: &mut Command, what: &str| {
        let out = command.output().unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(out.status.success(), "{what}: {}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    };
    let _gone = std::fs::remove_dir_all(&dir);
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir), "python3 -m venv (Debian package python3-venv)");
    let list = dir.join("wanted.txt");
    std::fs::write(&list, requirements).expect("written");
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "-r"];
    run(Command::new(&python).args(pip).arg(list), &format!("pip install of {name}"));
    std::fs::write(ready, requirements).expect("the directory can be written");
    python
}
