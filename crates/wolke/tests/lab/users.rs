//! Users who create, start, stop, restart and delete servers without waiting for each other, and do not mind being refused.

use super::{Platform, dice::Dice};
use http::Method;
use serde_json::{Value as Json, json};

/// What one user is about to do.
pub enum Wish {
    Create {
        name: String,
        body: Json,
    },
    Act {
        name: String,
        action: &'static str,
        body: Json,
    },
    /// On the last of the server's disks or interfaces, whichever it is when the time comes.
    OnPart {
        name: String,
        action: &'static str,
    },
    Delete {
        name: String,
        bin: bool,
    },
}

pub struct Users {
    made: usize,
    /// Names asked for and not known to be gone.
    names: Vec<String>,
    /// How many servers there are at most.
    most: usize,
    /// A server as it is asked for, but for its name.
    like: Json,
    /// Whether they want servers changed too: disks, interfaces, size.
    change: bool,
}

impl Users {
    pub fn new(most: usize, like: Json, change: bool) -> Users {
        Users { made: 0, names: Vec::new(), most, like, change }
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
        match dice.roll(if self.change { 18 } else { 10 }) {
            0..=2 => Wish::Delete { name: self.names[at].clone(), bin: dice.roll(4) == 0 },
            3 | 4 => self.act(at, "start", json!({})),
            5 => self.act(at, "stop", json!({"is_force": true})),
            6 => self.act(at, "stop", json!({"timeout_secs": 1})),
            7 | 8 => self.act(at, "restart", json!({"timeout_secs": 1})),
            9 => self.act(at, "reset", json!({})),
            10 => self.act(at, "createdisk", json!({"disks": ["1g"]})),
            11 => self.act(at, "attachnetwork", json!({"nets": ["default"]})),
            12 => self.act(at, "change-config", json!({"vmem_size": dice.pick(&["64", "128"]), "vcpu_count": dice.pick(&[1, 2])})),
            13 => self.act(at, "rebuild-root", json!({"auto_start": dice.roll(2) == 0})),
            14 | 15 => Wish::OnPart { name: self.names[at].clone(), action: "detachdisk" },
            16 => Wish::OnPart { name: self.names[at].clone(), action: "resize-disk" },
            _ => Wish::OnPart { name: self.names[at].clone(), action: "detachnetwork" },
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
            Wish::OnPart { name, action } => format!("{action} {name}"),
            Wish::Delete { name, bin } => format!("delete {name}{}", if *bin { " into the bin" } else { "" }),
        };
        let going = match &self {
            Wish::Delete { name, .. } => Some(name.clone()),
            _ => None,
        };
        let answer = match self {
            Wish::Create { body, .. } => platform.post("servers", body).await,
            Wish::Act { name, action, body } => platform.post(&format!("servers/{name}/{action}"), body).await,
            Wish::OnPart { name, action } => match platform.get(&format!("servers/{name}")).await {
                Ok(found) => platform.post(&format!("servers/{name}/{action}"), part(&found["server"], action)).await,
                Err(e) => Err(e),
            },
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

/// The body of an action on a server's last disk or interface.
fn part(server: &Json, action: &str) -> Json {
    let last = |list: &str, key: &str| server[list].as_array().and_then(|l| l.last()).map_or(Json::Null, |e| e[key].clone());
    match action {
        "detachnetwork" => json!({"mac": last("nics", "mac")}),
        "resize-disk" => {
            let size = last("disks_info", "size").as_i64().unwrap_or_default();
            json!({"disk_id": last("disks_info", "id"), "size": size + 1024})
        }
        _ => json!({"disk_id": last("disks_info", "id")}),
    }
}
