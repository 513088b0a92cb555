//! `wolke-saml`: one question as JSON on standard input, one answer on standard output (`api_identity::saml`). Started by the identity service
//! for each response; takes no arguments, no environment, opens nothing.

use api_identity::saml::{LONGEST_QUESTION, Question};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{Read, Write};
use std::process::ExitCode;

/// Address space, bytes: a hundred times what the largest response needs.
const MEMORY: u64 = 256 * 1024 * 1024;
/// Processor time, seconds.
const PROCESSOR: u64 = 5;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _unheard = writeln!(std::io::stderr(), "wolke-saml: {why}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    // No more memory, no more time, no new descriptors, no child processes, no core file with somebody's login in it.
    for (what, limit) in
        [(Resource::As, MEMORY), (Resource::Cpu, PROCESSOR), (Resource::Nofile, 3), (Resource::Core, 0), (Resource::Fsize, 0)]
    {
        setrlimit(what, Rlimit { current: Some(limit), maximum: Some(limit) }).map_err(|e| format!("limit of {what:?}: {e}"))?;
    }
    let mut text = Vec::new();
    std::io::stdin().lock().take(LONGEST_QUESTION as u64 + 1).read_to_end(&mut text).map_err(|e| format!("standard input: {e}"))?;
    if text.len() > LONGEST_QUESTION {
        return Err(format!("the question is longer than {LONGEST_QUESTION} bytes"));
    }
    let question: Question = serde_json::from_slice(&text).map_err(|e| format!("no question: {e}"))?;
    let answer = serde_json::to_vec(&saml::answer(&question)).map_err(|e| e.to_string())?;
    std::io::stdout().lock().write_all(&answer).map_err(|e| format!("standard output: {e}"))
}
