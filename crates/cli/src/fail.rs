//! Why a command failed, for the person who typed it.

use std::fmt;

/// A message that says what to do, and for refusals of a service their class and request.
#[derive(Debug)]
pub struct Fail {
    message: String,
    class: Option<&'static str>,
    status: u16,
    request: String,
    pipe: bool,
}

pub type Result<T, E = Fail> = std::result::Result<T, E>;

impl Fail {
    /// Something to correct on the command line or this machine.
    pub fn usage(message: impl Into<String>) -> Fail {
        Fail { message: message.into(), class: None, status: 0, request: String::new(), pipe: false }
    }

    /// A refusal of a service, or no answer from it.
    pub fn refused(error: &base::Error, status: u16, request: &str) -> Fail {
        let mut message = error.to_string();
        if status == 0
            && let Some(cause) = error.context()
        {
            message = format!("{message} ({cause})");
        }
        Fail { message, class: Some(error.class().name()), status, request: request.to_string(), pipe: false }
    }

    /// Writing or reading a file of this machine failed.
    pub fn file(what: &str, error: &std::io::Error) -> Fail {
        let pipe = error.kind() == std::io::ErrorKind::BrokenPipe;
        Fail { pipe, ..Fail::usage(format!("{what}: {error}")) }
    }

    /// Of the answer; 0 when there was none.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// As the platform names it.
    pub fn class(&self) -> Option<&'static str> {
        self.class
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn is_missing(&self) -> bool {
        self.status == 404
    }

    pub fn is_closed_pipe(&self) -> bool {
        self.pipe
    }

    /// The permission a denial names.
    fn denied(&self) -> Option<&str> {
        let named = self.message.strip_prefix("not allowed: ").filter(|_| self.status == 403)?;
        named.split_whitespace().next().filter(|word| word.contains('/'))
    }

    /// What one can do about it beyond what the service says.
    fn advice(&self) -> &'static str {
        match (self.status, self.class) {
            (401, Some("SecondFactorRequired")) => "give it with `wolke login --otp CODE`, or with OS_PASSCODE beside OS_PASSWORD",
            (401, Some("WrongPassword")) => "is it the right user, and domain (--domain, OS_DOMAIN_NAME)?",
            (401, _) if self.message.starts_with("you have no role in ") => {
                "name another project (--project, OS_PROJECT_NAME), or ask an administrator for a role in this one"
            }
            // A code, a secret or a key that is wrong is none the righter for another login.
            (401, _) if ["token", "log in"].iter().any(|word| self.message.contains(word)) => {
                "log in: set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME, or run `wolke login`"
            }
            (0, Some("BadGateway")) => "does the platform run, and is the address right? (`wolke login --help`)",
            _ => "",
        }
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wolke: {}", self.message)?;
        if !self.advice().is_empty() {
            write!(f, "\n  {}", self.advice())?;
        }
        if let Some(permission) = self.denied() {
            write!(f, "\n  why: `wolke access explain {permission}`; who may: `wolke access who-can {permission}`")?;
        }
        match self.class {
            Some(class) if self.status > 0 => write!(f, "\n  {class} ({}), request {}", self.status, self.request),
            _ => Ok(()),
        }
    }
}

impl From<serde_json::Error> for Fail {
    fn from(e: serde_json::Error) -> Fail {
        Fail::usage(format!("not JSON: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::err;

    #[test]
    fn refusals_say_what_to_do() {
        let denied = err!(Forbidden, "not allowed: {} at scope {}; ask an administrator", "compute/servers/create", "project");
        let text = Fail::refused(&denied, 403, "cli-1").to_string();
        assert!(text.contains("`wolke access explain compute/servers/create`") && text.ends_with("request cli-1"), "{text}");
        let code = Fail::refused(&err!(SecondFactorRequired, "a one-time password is needed"), 401, "cli-2").to_string();
        assert!(code.contains("--otp"), "{code}");
        let nowhere = Fail::refused(&err!(Unauthorized, "you have no role in {}, or it is disabled", "web"), 401, "cli-3").to_string();
        assert!(nowhere.contains("--project") && !nowhere.contains("log in"), "{nowhere}");
        let code = Fail::refused(&err!(InvalidCredential, "the one-time password or recovery code is wrong"), 401, "cli-4").to_string();
        assert!(!code.contains("log in"), "somebody who confirms a code is logged in: {code}");
    }
}
