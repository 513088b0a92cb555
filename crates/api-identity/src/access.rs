//! The access explainer's questions and answers: `POST /v3/access/can`, `POST /v3/access/who-can`. An addition of ours.

use crate::Named;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The question.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessQuestion {
    /// `service/resource/action`, with the name of an action or property behind it: `compute/servers/perform/start`.
    pub permission: String,
    /// Who, by id or name; whoever asks when empty. Not for `who-can`.
    pub user: String,
    /// In which project, by id or name; for whoever asks that of the token.
    pub project: String,
    /// Address of the login, for policies that hold from certain networks only.
    pub ip: String,
    /// On which object of the identity service, by id or name.
    pub on: String,
    /// For an object of another service: the project it belongs to, by id or name.
    pub owner_project: String,
    /// For one that belongs to a domain: which.
    pub owner_domain: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Whether somebody may, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessAnswer {
    pub allowed: bool,
    pub permission: String,
    /// The scope the object takes: `project`, `domain`, `system`, `user`; empty without an object.
    pub needs: String,
    /// The widest scope at which it is allowed on every row; `none` when it is not.
    pub scope: String,
    /// The widest scope at which it is allowed on rows with certain tags; empty when it is not.
    pub conditional_scope: String,
    /// Whether the object can be seen; one that cannot is answered as not found.
    pub seen: bool,
    pub user: Named,
    pub project: Named,
    /// Roles held there, by name.
    pub roles: Vec<String>,
    /// Every policy that was looked at, those that decide first.
    pub reasons: Vec<AccessReason>,
    /// The same in sentences.
    pub why: Vec<String>,
}

/// What one policy says, and how it comes to the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessReason {
    pub policy: String,
    pub scope: String,
    pub allow: bool,
    /// The rule that won in it, such as `compute/servers/*: deny`; empty when none matched.
    pub rule: String,
    /// The role it is bound to; empty for what everybody has.
    pub role: String,
    /// From the user to the role: `user alice → group devs → role viewer in demo`.
    pub path: String,
    /// The tags a row must have; empty for any row.
    pub condition: String,
    /// Why the policy does not hold now; empty when it does.
    pub holds: String,
}

/// Who may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessHolders {
    pub permission: String,
    pub holders: Vec<AccessHolder>,
    /// Whether there are more than an answer holds.
    pub more: bool,
    /// Policies that allow it to everybody who is logged in, about himself for the most part.
    pub everybody: Vec<AccessReason>,
}

/// One who may, in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessHolder {
    pub user: Named,
    /// Where the token must be scoped to.
    #[serde(rename = "in")]
    pub target: AccessTarget,
    /// The group the role comes through; empty when the user has it himself.
    pub group: String,
    pub role: String,
    pub policy: String,
    pub scope: String,
    pub rule: String,
    pub condition: String,
}

/// A project or a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTarget {
    /// `project` or `domain`.
    pub kind: String,
    pub id: String,
    pub name: String,
}
