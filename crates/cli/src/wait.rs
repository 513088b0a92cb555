//! Waiting for a server, with one line on the terminal that says where it stands.

use crate::{
    catalog::Service,
    fail::{Fail, Result},
    session::{Session, segment},
};
use serde_json::Value as Json;
use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// How often the platform is asked.
const EVERY: Duration = Duration::from_millis(500);

/// One line that is written over, or, where nobody watches, a line per change.
pub struct Line {
    live: bool,
    last: String,
    dirty: bool,
}

impl Line {
    pub fn new() -> Line {
        Line { live: std::io::stderr().is_terminal(), last: String::new(), dirty: false }
    }

    /// `text` is what changed; `more` is shown only where the line can be written over.
    pub fn say(&mut self, text: &str, more: &str) {
        if self.live {
            eprint!("\r\x1b[K{text}{more}");
            let _gone = std::io::stderr().flush();
            self.dirty = true;
        } else if self.last != text {
            eprintln!("{text}");
        }
        self.last = text.to_string();
    }

    pub fn end(&mut self) {
        if self.dirty {
            eprintln!();
            self.dirty = false;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether a status word is where an operation ends.
pub fn settled(status: &str, goal: &[&str]) -> Option<bool> {
    if goal.contains(&status) {
        return Some(true);
    }
    (status.ends_with("_fail") || status.ends_with("_failed")).then_some(false)
}

/// Waits until the server's status is one of the goal; a failure names the platform's reason.
pub async fn server(session: &Session, id: &str, goal: &[&str], patience: Duration) -> Result<Json> {
    let started = Instant::now();
    let mut line = Line::new();
    loop {
        let mut answer = session.get(Service::Compute, &format!("/servers/{}", segment(id)), &[]).await?;
        let server = answer["server"].take();
        let (name, status) = (server["name"].as_str().unwrap_or(id).to_string(), server["status"].as_str().unwrap_or_default().to_string());
        let task = if settled(&status, goal).is_none() { task(session, server["id"].as_str().unwrap_or(id)).await } else { String::new() };
        line.say(&format!("{name}: {status}"), &format!("{task} ({} s)", started.elapsed().as_secs()));
        match settled(&status, goal) {
            Some(true) => return Ok(server),
            Some(false) => {
                line.end();
                let reason = server["status_reason"].as_str().filter(|r| !r.is_empty()).unwrap_or("no reason is recorded");
                return Err(Fail::usage(format!("server {name} is {status}: {reason}\n  its tasks: wolke server tasks {name}")));
            }
            None if started.elapsed() > patience => {
                line.end();
                return Err(Fail::usage(format!(
                    "server {name} is still {status} after {} s; it goes on without us: wolke server wait {name}",
                    patience.as_secs()
                )));
            }
            None => tokio::time::sleep(EVERY).await,
        }
    }
}

/// What the newest task on the server does. Not to know it does not stop the waiting.
async fn task(session: &Session, id: &str) -> String {
    let query = [("obj_id", id), ("limit", "1"), ("details", "false")].map(|(k, v)| (k.to_string(), v.to_string()));
    let Ok(answer) = session.get(Service::Compute, "/tasks", &query).await else { return String::new() };
    let task = &answer["tasks"][0];
    match (task["stage"].as_str(), task["status"].as_str()) {
        (_, None | Some("done")) => String::new(),
        (Some(stage), _) => {
            let percent = task["progress"].as_i64().filter(|p| *p > 0).map(|p| format!(" {p} %")).unwrap_or_default();
            format!(", step {stage}{percent}")
        }
        _ => String::new(),
    }
}
