//! The whole test run: machine set-up, guest image, web console, tests, documentation tests, checks of the house. Its last line counts all of them.

use crate::setup::{self, Group, Outcome};
use crate::{check, console, guest_image, repo, run};
use anyhow::{Context, Result};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
}

impl Count {
    fn add(&mut self, passed: usize, failed: usize) {
        self.passed += passed;
        self.failed += failed;
    }
}

/// Runs everything, or only the tests of some crates, and gives whether all of it passed.
pub fn test(packages: &[String]) -> Result<bool> {
    let started = Instant::now();
    let mut count = Count::default();
    run::step("machine");
    if setup::setup(&Group::ALL, false)? == Outcome::Incomplete {
        eprintln!("setup: tests that need what is missing will fail and name it");
    }
    if needs_guest(packages)? {
        run::step("guest image");
        if let Err(error) = guest_image::build() {
            eprintln!("{error:#}");
            count.add(0, 1);
        }
    }
    if packages.is_empty() || packages.iter().any(|p| p == "wolke") {
        run::step("web console");
        // Its own tests count as one. The test in a browser names what is missing when it cannot be made.
        match console::build().and_then(|made| if made == console::Console::Built { console::test() } else { Ok(()) }) {
            Ok(()) => count.add(1, 0),
            Err(error) => {
                eprintln!("{error:#}");
                count.add(0, 1);
            }
        }
    }
    tests(packages, &mut count)?;
    documentation_tests(packages, &mut count)?;
    if packages.is_empty() {
        run::step("checks");
        let (passed, failed) = check::check(&[], false)?;
        count.add(passed, failed);
    }
    eprintln!("==> {}", run::seconds(started.elapsed()));
    println!("{} passed, {} failed", count.passed, count.failed);
    Ok(count.failed == 0)
}

fn needs_guest(packages: &[String]) -> Result<bool> {
    for file in repo::files()? {
        let Some((name, rest)) = file.strip_prefix("crates/").and_then(|file| file.split_once('/')) else { continue };
        let chosen = packages.is_empty() || packages.iter().any(|package| package == name);
        if chosen && rest.starts_with("tests/") && guest_image::is_used_in(&String::from_utf8_lossy(&fs::read(repo::root().join(&file))?)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn choose(command: &mut Command, packages: &[String]) {
    if packages.is_empty() {
        command.arg("--workspace");
    }
    for package in packages {
        command.args(["-p", package]);
    }
}

fn tests(packages: &[String], count: &mut Count) -> Result<()> {
    if !run::answers(repo::cargo().args(["nextest", "--version"])) {
        run::step("tests (cargo test: cargo-nextest is not installed)");
        let mut command = repo::cargo();
        command.args(["test", "--no-fail-fast", "--lib", "--bins", "--tests"]);
        choose(&mut command, packages);
        return cargo_test(&mut command, count);
    }
    run::step("tests");
    let junit = repo::artefacts().join("nextest/default/junit.xml");
    // A run that does not get as far as running tests writes none, and an old one must not count.
    if junit.exists() {
        fs::remove_file(&junit)?;
    }
    let mut command = repo::cargo();
    command.args(["nextest", "run", "--no-fail-fast"]);
    choose(&mut command, packages);
    let ok = run::shown(&mut command)?;
    match fs::read_to_string(&junit) {
        Ok(report) => {
            let (all, bad) = junit_totals(&report).with_context(|| format!("{} has no totals", junit.display()))?;
            count.add(all - bad, if ok { bad } else { bad.max(1) });
        }
        Err(_) => {
            eprintln!("the tests did not run");
            count.add(0, 1);
        }
    }
    Ok(())
}

/// All tests and those that failed, from the first tag of a JUnit report.
fn junit_totals(report: &str) -> Option<(usize, usize)> {
    let tag = report.split("<testsuites ").nth(1)?.split('>').next()?;
    let number = |name: &str| -> Option<usize> { tag.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.parse().ok() };
    let bad = number("failures")? + number("errors")?;
    Some((number("tests")?, bad)).filter(|(all, bad)| bad <= all)
}

fn documentation_tests(packages: &[String], count: &mut Count) -> Result<()> {
    // Cargo refuses to run documentation tests of a crate that is only a binary, when asked by name.
    let metadata = repo::metadata()?;
    let with_library = |package: &&String| {
        metadata["packages"].as_array().into_iter().flatten().any(|each| {
            let library = |target: &serde_json::Value| {
                target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == "lib" || k == "proc-macro"))
            };
            each["name"] == ***package && each["targets"].as_array().is_some_and(|targets| targets.iter().any(library))
        })
    };
    let libraries: Vec<String> = packages.iter().filter(with_library).cloned().collect();
    if libraries.is_empty() && !packages.is_empty() {
        return Ok(());
    }
    run::step("documentation tests");
    let mut command = repo::cargo();
    command.args(["test", "-q", "--no-fail-fast", "--doc"]);
    choose(&mut command, &libraries);
    cargo_test(&mut command, count)
}

/// Runs `cargo test`, showing its output, and adds up its result lines.
fn cargo_test(command: &mut Command, count: &mut Count) -> Result<()> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {}", run::line(command)))?;
    let (mut passed, mut failed) = (0, 0);
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            if let Some((p, f)) = result_line(&line) {
                passed += p;
                failed += f;
            }
        }
    }
    let ok = child.wait()?.success();
    count.add(passed, if ok { failed } else { failed.max(1) });
    Ok(())
}

/// `test result: ok. 12 passed; 0 failed; …`
fn result_line(line: &str) -> Option<(usize, usize)> {
    let rest = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let number = |word: &str| -> Option<usize> { rest.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse().ok()) };
    Some((number("passed")?, number("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_totals_of_both_runners() {
        let report = r#"<?xml version="1.0"?><testsuites name="nextest-run" tests="12" failures="2" errors="1" uuid="x" time="1.2"><testsuite tests="1" failures="0" errors="0"/>"#;
        assert_eq!(junit_totals(report), Some((12, 3)));
        assert_eq!(junit_totals("<testsuites tests=\"1\" failures=\"2\" errors=\"0\">"), None);
        assert_eq!(junit_totals("nothing"), None);
        assert_eq!(
            result_line("test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s"),
            Some((3, 1))
        );
        assert_eq!(result_line("test a::b ... ok"), None);
    }
}
