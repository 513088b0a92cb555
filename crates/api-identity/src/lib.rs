//! The contract of the identity service: its resources, the token request and answer, and a typed client.
//!
//! The service serves it; every other service, the gateway and the command line speak to it through [`IdentityClient`], in one process or over
//! the network. No database, no server: a transport is handed in.

mod access;
mod answer;
mod application_credential;
mod assignment;
mod client;
mod credential;
mod directory;
pub mod domain;
mod endpoint;
mod group;
pub mod identity_provider;
mod membership;
mod policy;
pub mod project;
mod region;
mod request;
pub mod role;
mod rolepolicy;
pub mod saml;
mod secret;
mod service;
mod transport;
pub mod user;

pub use access::{AccessAnswer, AccessHolder, AccessHolders, AccessQuestion, AccessReason, AccessTarget};
pub use answer::{
    AccessKey, Assigned, AssignedScope, CatalogEndpoint, CatalogService, DomainRef, Named, PolicyNames, PolicyTrees, ProjectRef, RoleRef,
    Subject, TokenAnswer, UserRef,
};
pub use application_credential::{AccessRule, ApplicationCredential};
pub use assignment::{Assignment, GROUP_DOMAIN, GROUP_PROJECT, USER_DOMAIN, USER_PROJECT};
pub use client::{IdentityClient, Issued, Login};
pub use credential::{Credential, TYPES as CREDENTIAL_TYPES};
pub use directory::{
    Changed, Changes, DirectoryDomain, DirectoryProject, Revocation, Revocations, RuleBinding, RuleBook, RulePolicy, SigningKey,
};
pub use domain::Domain;
pub use endpoint::{Endpoint, INTERFACES};
pub use group::Group;
pub use identity_provider::{IdentityLink, IdentityProvider};
pub use membership::Membership;
pub use policy::Policy;
pub use project::Project;
pub use region::Region;
pub use request::{
    ApplicationCredentialMethod, AssumeMethod, Auth, AuthContext, AuthRequest, CasMethod, CodeMethod, Identity, PasswordMethod,
    PasswordUser, SamlMethod, ScopeProject, ScopeWish, TokenMethod, TotpMethod, TotpUser, Which,
};
pub use role::Role;
pub use rolepolicy::RolePolicy;
pub use secret::Secret;
pub use service::Service;
pub use transport::{Call, Reply, Transport};
pub use user::User;

/// Service type and first word of a permission.
pub const SERVICE: &str = "identity";

/// Header with the caller's token.
pub const AUTH_TOKEN: &str = "X-Auth-Token";
/// Header with the token that is issued, verified or revoked.
pub const SUBJECT_TOKEN: &str = "X-Subject-Token";

#[cfg(test)]
mod tests {
    use base::Resource;

    #[test]
    fn every_field_is_documented() {
        for facts in [
            super::Domain::facts(),
            super::Project::facts(),
            super::User::facts(),
            super::Group::facts(),
            super::Role::facts(),
            super::Policy::facts(),
            super::RolePolicy::facts(),
            super::Service::facts(),
            super::Endpoint::facts(),
            super::Region::facts(),
            super::Credential::facts(),
            super::ApplicationCredential::facts(),
            super::Assignment::facts(),
            super::Membership::facts(),
            super::IdentityProvider::facts(),
            super::IdentityLink::facts(),
        ] {
            assert!(!facts.doc.is_empty(), "{}", facts.name);
            for field in &facts.fields {
                assert!(!field.doc.is_empty(), "{}.{}", facts.name, field.name);
            }
        }
    }

    #[test]
    fn secrets_are_never_answered() {
        for (facts, names) in [
            (super::User::facts(), &["password_hash", "password_history"][..]),
            (super::Credential::facts(), &["sealed_blob", "key_hash"]),
            (super::ApplicationCredential::facts(), &["secret_hash"]),
            (super::Service::facts(), &["sealed_config", "config"]),
            (super::IdentityProvider::facts(), &["sealed_config", "config"]),
        ] {
            for name in names {
                assert!(facts.field(name).is_some_and(|f| f.flags.has(base::Flags::HIDDEN)), "{}.{name}", facts.name);
            }
        }
    }
}
