//! Asking the person at the terminal.

use crate::fail::{Fail, Result};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Write};

/// Whether there is somebody to ask.
pub fn is_there() -> bool {
    std::io::stdin().is_terminal()
}

/// A line; `option` is what a program gives instead.
pub fn line(prompt: &str, option: &str) -> Result<String> {
    ask(prompt, option, true)
}

/// A line with a usual answer, which an empty one means.
pub fn line_or(what: &str, option: &str, usual: &str) -> Result<String> {
    if usual.is_empty() {
        return line(&format!("{what}: "), option);
    }
    let given = line(&format!("{what} [{usual}]: "), option)?;
    Ok(if given.is_empty() { usual.to_string() } else { given })
}

/// A line that is not shown while it is typed.
pub fn secret(prompt: &str, option: &str) -> Result<String> {
    ask(prompt, option, false)
}

/// A secret from the terminal, unseen, or a line of what is piped in.
pub fn secret_or_piped(prompt: &str) -> Result<String> {
    if is_there() {
        return secret(prompt, "password");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|e| Fail::file("stdin", &e))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_string())
}

fn ask(prompt: &str, option: &str, echo: bool) -> Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Fail::usage(format!("--{option} is missing, and there is no terminal to ask at")));
    }
    eprint!("{prompt}");
    let _gone = std::io::stderr().flush();
    let before = tcgetattr(&stdin).map_err(|e| Fail::file("terminal", &e.into()))?;
    if !echo {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(|e| Fail::file("terminal", &e.into()))?;
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if !echo {
        let _gone = tcsetattr(&stdin, OptionalActions::Now, &before);
        eprintln!();
    }
    match read {
        Ok(0) => Err(Fail::usage("nothing was typed")),
        Ok(_) => Ok(line.trim_end_matches(['\n', '\r']).to_string()),
        Err(e) => Err(Fail::file("terminal", &e)),
    }
}
