//! Running programs: with their output shown, kept in a log, or read.

use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Shows a heading of the run.
pub fn step(text: &str) {
    eprintln!("==> {text}");
}

/// `12.3 s`
pub fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// The command line as one would type it.
pub fn line(command: &Command) -> String {
    let mut text = String::new();
    for part in std::iter::once(command.get_program()).chain(command.get_args()) {
        let part = part.to_string_lossy();
        let plain = !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:+,@~%".contains(c));
        let _ = if plain { write!(text, "{part} ") } else { write!(text, "'{}' ", part.replace('\'', r"'\''")) };
    }
    text.pop();
    text
}

/// Runs with the terminal's output; gives whether it succeeded.
pub fn shown(command: &mut Command) -> Result<bool> {
    Ok(command.status().with_context(|| format!("cannot run {}", line(command)))?.success())
}

/// Runs with all output in a file; on failure the error has the last lines.
pub fn logged(command: &mut Command, log: &Path) -> Result<Duration> {
    let started = Instant::now();
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir)?;
    }
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("cannot run {}", line(command)))?;
    if !status.success() {
        let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        bail!(
            "{} failed ({status}):\n{}\n(all of it: {})",
            line(command),
            lines[lines.len().saturating_sub(15)..].join("\n"),
            log.display()
        );
    }
    Ok(started.elapsed())
}

/// Runs and gives what it printed; an error has what it complained about.
pub fn read(command: &mut Command) -> Result<String> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", line(command)))?;
    if !out.status.success() {
        bail!("{} failed ({}): {}", line(command), out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Whether a program is on the path and answers.
pub fn answers(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_its_last_lines_and_where_the_rest_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("sub/log");
        let error = logged(Command::new("sh").args(["-c", "seq 30; echo broken >&2; exit 3"]), &log).expect_err("exit 3");
        let text = error.to_string();
        assert!(text.contains("broken") && text.contains("\n30\n") && !text.contains("\n5\n") && text.contains("sub/log"), "{text}");
        assert!(logged(&mut Command::new("true"), &log).is_ok());
    }

    #[test]
    fn lines_can_be_pasted_into_a_shell() {
        assert_eq!(line(Command::new("apt-get").args(["install", "-o", "A=b c", "it's", ""])), r"apt-get install -o 'A=b c' 'it'\''s' ''");
    }
}
