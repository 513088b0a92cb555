//! Users who create, start, stop, restart and delete servers without waiting for each other, and do not mind being refused.

use super::{Platform, dice::Dice};
use http::Method;
use serde_json::{Value as Json, json};

/// What one user is about to do.
pub enum Wish {
    Create { name: String, body: Json },
    Act { name: String, action: &'static str, body: Json },
    Delete { name: String, bin: bool },
}

pub struct Users {
    made: usize,
    /// Names asked for and not known to be gone.
    names: Vec<String>,
    /// How many servers there are at most.
    most: usize,
    /// A server as it is asked for, but for its name.
    like: Json,
}

impl Users {
    pub fn new(most: usize, like: Json) -> Users {
        Users { made: 0, names: Vec::new(), most, like }
    }

    /// What comes next.
    pub fn wish(&mut self, dice: &mut Dice) -> Wish {
        let few = self.names.len() < self.most / 2;
        let full = self.names.len() >= self.most;
        if self.names.is_empty() || (!full && dice.roll(10) < if few { 7 } else { 3 }) {
            self.made += 1;
            let name = format!("s{}", self.made);
            self.names.push(name.clone());
            let mut server = self.like.clone();
            server["name"] = json!(name);
            server["auto_start"] = json!(dice.roll(4) > 0);
            return Wish::Create { name, body: json!({ "server": server }) };
        }
        let at = dice.roll(self.names.len());
        match dice.roll(10) {
            0..=2 => Wish::Delete { name: self.names[at].clone(), bin: dice.roll(4) == 0 },
            3 | 4 => self.act(at, "start", json!({})),
            5 => self.act(at, "stop", json!({"is_force": true})),
            6 => self.act(at, "stop", json!({"timeout_secs": 1})),
            7 | 8 => self.act(at, "restart", json!({"timeout_secs": 1})),
            _ => self.act(at, "reset", json!({})),
        }
    }

    /// A server is gone, or will be.
    pub fn forget(&mut self, name: &str) {
        self.names.retain(|n| n != name);
    }

    fn act(&self, at: usize, action: &'static str, body: Json) -> Wish {
        Wish::Act { name: self.names[at].clone(), action, body }
    }
}

impl Wish {
    /// Asks for it. A refusal is an answer, and so is a platform that is not there. Answers what to tell of it, and the name of a server
    /// that is gone by it.
    pub async fn ask(self, platform: &Platform) -> (String, Option<String>) {
        let told = match &self {
            Wish::Create { name, .. } => format!("create {name}"),
            Wish::Act { name, action, body } => format!("{action} {name} {body}"),
            Wish::Delete { name, bin } => format!("delete {name}{}", if *bin { " into the bin" } else { "" }),
        };
        let going = match &self {
            Wish::Delete { name, .. } => Some(name.clone()),
            _ => None,
        };
        let answer = match self {
            Wish::Create { body, .. } => platform.post("servers", body).await,
            Wish::Act { name, action, body } => platform.post(&format!("servers/{name}/{action}"), body).await,
            Wish::Delete { name, bin: true } => platform.ask(Method::DELETE, &format!("servers/{name}"), Some(json!({}))).await,
            Wish::Delete { name, bin: false } => platform.delete(&name).await,
        };
        match answer {
            Ok(_) => (format!("{told}: taken"), going),
            // Asked for while nobody was there to take it, or asked to go twice.
            Err(e) if e.class().http() == 404 => (format!("{told}: {e}"), going),
            Err(e) => (format!("{told}: {e}"), None),
        }
    }
}
