//! The operation context: who asks, under which request, in which language. A plain argument, never a global.

use std::{net::IpAddr, sync::Arc};

/// How far a permission reaches, narrow to wide (spec 01 §11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    #[default]
    None,
    User,
    Project,
    Domain,
    System,
}

impl Scope {
    pub fn name(self) -> &'static str {
        match self {
            Scope::None => "none",
            Scope::User => "user",
            Scope::Project => "project",
            Scope::Domain => "domain",
            Scope::System => "system",
        }
    }

    pub fn parse(text: &str) -> Option<Scope> {
        [Scope::None, Scope::User, Scope::Project, Scope::Domain, Scope::System].into_iter().find(|s| s.name() == text)
    }
}

/// A role as a token carries it.
#[derive(Clone, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Role {
    pub id: String,
    pub name: String,
}

/// Whom a verified token speaks for. The guest (no token, or a bad one) has empty ids: policy decides what it may do (spec 01 §8.4).
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Caller {
    pub user_id: String,
    pub user: String,
    pub user_domain_id: String,
    pub user_domain: String,
    /// Empty when the token is unscoped or scoped to a domain.
    pub project_id: String,
    pub project: String,
    /// Domain of the project, or the domain itself for a domain-scoped token.
    pub project_domain_id: String,
    pub project_domain: String,
    pub roles: Vec<Role>,
    /// Whether the account is one of the platform's own.
    pub is_system_account: bool,
}

impl Caller {
    pub fn is_guest(&self) -> bool {
        self.user_id.is_empty()
    }

    /// The platform itself, for background work.
    pub fn platform() -> Caller {
        Caller { user_id: "platform".into(), user: "platform".into(), is_system_account: true, ..Caller::default() }
    }
}

/// Language of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lang {
    #[default]
    En,
    Zh,
}

impl Lang {
    pub fn parse(text: &str) -> Lang {
        if text.to_ascii_lowercase().starts_with("zh") { Lang::Zh } else { Lang::En }
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Ctx {
    pub caller: Arc<Caller>,
    pub request_id: Arc<str>,
    pub lang: Lang,
    pub peer: Option<IpAddr>,
    /// The token the caller showed, for calls to other services in the caller's name.
    pub bearer: Bearer,
}

/// A token as it came. It cannot be printed.
#[derive(Clone, Default)]
pub struct Bearer(pub Option<Arc<str>>);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "***" } else { "none" })
    }
}

impl Ctx {
    /// Background work in the platform's own name.
    pub fn platform(request_id: &str) -> Ctx {
        Ctx { caller: Arc::new(Caller::platform()), request_id: request_id.into(), lang: Lang::En, peer: None, bearer: Bearer::default() }
    }
}
