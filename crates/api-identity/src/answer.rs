//! What a token stands for, as it is answered (spec 02 §2.2), and the policies of a caller (spec 02 §7.3).

use crate::AuthContext;
use base::Json;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The body of a token answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TokenAnswer {
    /// The token itself; only when it was just issued.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    pub token: Subject,
}

/// Whom and what a token stands for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    #[serde(default)]
    pub access_key: AccessKey,
    /// The chain of tokens it comes from; its own number last.
    #[serde(default)]
    pub audit_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub catalog: Vec<CatalogService>,
    #[serde(default)]
    pub context: AuthContext,
    /// UTC with six digits of fraction: one client reads no other form.
    #[serde(default)]
    pub expires_at: String,
    /// Whether it is scoped to a domain; then the project's id is the domain's.
    #[serde(default)]
    pub is_domain: bool,
    #[serde(default)]
    pub issued_at: String,
    #[serde(default)]
    pub methods: Vec<String>,
    #[serde(default, skip_serializing_if = "PolicyNames::is_empty")]
    pub policies: PolicyNames,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectRef>,
    /// Projects the user can enter; only in unscoped tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<ProjectRef>,
    /// Roles the user has, where; only in unscoped tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub role_assignments: Vec<Assigned>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Named>,
    pub user: UserRef,
}

/// The access key of a login by one; otherwise only `expire`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AccessKey {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub access_key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secret: String,
    /// Unix seconds; 0 for never.
    #[serde(default)]
    pub expire: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub id: String,
    pub name: String,
}

pub type DomainRef = Named;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRef {
    pub domain: DomainRef,
    pub id: String,
    pub name: String,
}

pub type RoleRef = ProjectRef;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UserRef {
    pub domain: DomainRef,
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub is_system_account: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub displayname: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mobile: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_expires_at: Option<String>,
}

/// One role of somebody somewhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Assigned {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<PolicyNames>,
    pub role: RoleRef,
    pub scope: AssignedScope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<ProjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<ProjectRef>,
}

/// Where: a project, or a domain.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AssignedScope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainRef>,
}

/// Names of policies by scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyNames {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domain: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub project: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<String>,
}

impl PolicyNames {
    pub fn is_empty(&self) -> bool {
        self.system.is_empty() && self.domain.is_empty() && self.project.is_empty() && self.user.is_empty()
    }
}

/// `GET /v3/auth/policies`: names and documents of what a caller holds, by scope.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PolicyTrees {
    #[serde(default)]
    pub names: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub policies: BTreeMap<String, Vec<Json>>,
}

/// A service of the catalogue.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CatalogService {
    pub endpoints: Vec<CatalogEndpoint>,
    pub id: String,
    pub name: String,
    pub r#type: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CatalogEndpoint {
    pub id: String,
    pub interface: String,
    pub name: String,
    /// The same as `region_id`: clients read one or the other.
    pub region: String,
    pub region_id: String,
    pub url: String,
}

impl Subject {
    /// The address of a service for a kind of caller; `slave` is never meant. Without a region the first one serves.
    pub fn endpoint(&self, service: &str, region: &str, interface: &str) -> Option<&str> {
        let service = self.catalog.iter().find(|s| s.r#type == service)?;
        let at = |e: &&CatalogEndpoint| e.interface == interface && (region.is_empty() || e.region_id == region);
        service.endpoints.iter().find(at).map(|e| e.url.as_str())
    }
}
