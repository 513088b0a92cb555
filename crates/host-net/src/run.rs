//! Running the programs that shape the host's network.

use base::{Error, Result, err};
use std::io;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Longest a program may take; all of them answer in milliseconds unless the machine is overloaded.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a program and returns what it printed. Failing, missing and hanging are errors; the log has the whole command.
pub(crate) async fn run(program: &str, args: &[&str], stdin: &str) -> Result<String> {
    let output = output(program, args, stdin).await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|l| !l.trim().is_empty()).unwrap_or("it did not say why");
    Err(err!(ServiceAbnormal, "{} failed on this host: {}", program, line.trim())
        .with_context(format!("{program} {}: {said}", args.join(" "))))
}

/// Runs a program whose failure is an answer too.
pub(crate) async fn succeeds(program: &str, args: &[&str]) -> Result<bool> {
    Ok(output(program, args, "").await?.status.success())
}

/// Whether a program is installed.
pub(crate) fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

async fn output(program: &str, args: &[&str], stdin: &str) -> Result<Output> {
    let context = |e: Error| e.with_context(format!("{program} {}", args.join(" ")));
    let mut command = Command::new(program);
    // Our programs' messages are matched nowhere, but operators read them.
    command.args(args).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| {
        context(match e.kind() {
            io::ErrorKind::NotFound => {
                err!(ServiceAbnormal, "program {} is missing on this host; install package {}", program, package(program))
            }
            _ => Error::internal(e),
        })
    })?;
    let begin = Instant::now();
    let mut input = child.stdin.take();
    let work = async {
        if let Some(mut pipe) = input.take() {
            // A program that does not read its input has its reasons; its exit status tells.
            let _ = pipe.write_all(stdin.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let done = tokio::time::timeout(TIMEOUT, work).await;
    tracing::trace!(program, args = args.join(" "), elapsed = ?begin.elapsed(), "ran");
    match done {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(e)) => Err(context(Error::internal(e))),
        Err(_) => Err(context(err!(Timeout, "{} did not finish within {} seconds", program, TIMEOUT.as_secs()))),
    }
}

/// Debian's name of the package a program is in.
fn package(program: &str) -> &str {
    match program {
        "ip" | "tc" => "iproute2",
        "nft" => "nftables",
        p if p.starts_with("iptables") => "iptables",
        p if p.starts_with("ovs") => "openvswitch-switch",
        p => p,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn programs_answer_fail_or_are_missing() {
        assert_eq!(run("cat", &[], "through").await.unwrap(), "through");
        let failed = run("sh", &["-c", "echo why >&2; exit 3"], "").await.unwrap_err();
        assert_eq!(failed.to_string(), "sh failed on this host: why");
        let missing = run("ovs-no-such-program", &[], "").await.unwrap_err();
        assert!(missing.to_string().ends_with("install package openvswitch-switch"), "{missing}");
        assert!(!succeeds("false", &[]).await.unwrap() && succeeds("true", &[]).await.unwrap());
        assert!(exists("sh") && !exists("ovs-no-such-program"));
    }
}
