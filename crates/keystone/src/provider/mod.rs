//! Identity providers (spec 02 §10): users and groups that another authority knows, brought over and kept in step, and logins it decides.
//!
//! ```text
//! config ─▶ wire (bind, paged search) ─▶ entries (what they mean) ─▶ plan (pure: what differs) ─▶ apply (rows, in batches) ─▶ report
//! ```
//!
//! Single sign-on is the other half: `sso` (what a driver is), one file or folder per driver, `mapping` (which attribute is what) and `external`,
//! the one place where "this provider vouches for this subject with these attributes" becomes a user with projects and roles.
//!
//! The resource itself is `kinds::identity_provider`. What is brought over has an identifier made of the provider and the authority's own, so
//! that it is the same row for ever, whoever synchronises. Nothing here ever takes an unanswered question for an empty answer.

pub(crate) mod apply;
pub(crate) mod cas;
pub(crate) mod config;
pub(crate) mod dn;
pub(crate) mod entries;
pub(crate) mod external;
pub(crate) mod link;
pub(crate) mod login;
pub(crate) mod mapping;
pub(crate) mod oauth2;
pub(crate) mod oidc;
pub(crate) mod pending;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod saml;
pub(crate) mod sso;
pub(crate) mod sync;
pub(crate) mod web;
pub(crate) mod wire;

use ring::digest::{Context, SHA256};
use store::Migrations;

/// The tables of providers and their links; numbered apart from those of identity.
pub const MIGRATIONS: Migrations = Migrations {
    owner: "identity-providers",
    sqlite: &[
        ("0001_identity_providers.sql", include_str!("../../migrations/sqlite/0001_identity_providers.sql")),
        ("0002_sso.sql", include_str!("../../migrations/sqlite/0002_sso.sql")),
    ],
    postgres: &[
        ("0001_identity_providers.sql", include_str!("../../migrations/postgres/0001_identity_providers.sql")),
        ("0002_sso.sql", include_str!("../../migrations/postgres/0002_sso.sql")),
    ],
};

/// Words of a link's entity.
pub const USER: &str = "user";
pub const GROUP: &str = "group";
pub const DOMAIN: &str = "domain";

/// The identifier of an authority's object here: 64 hex digits, the same for the same object for ever.
pub fn public_id(provider: &str, entity: &str, local_id: &str) -> String {
    let mut hash = Context::new(&SHA256);
    for part in [provider, entity, local_id] {
        // With its length, so that no two triples are written alike.
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finish())
}

#[cfg(test)]
mod tests {
    use super::public_id;

    #[test]
    fn identifiers_are_stable_and_apart() {
        let id = public_id("p", "user", "alice");
        assert_eq!(id.len(), 64);
        assert_eq!(id, public_id("p", "user", "alice"));
        for other in [("p", "group", "alice"), ("q", "user", "alice"), ("p", "use", "ralice"), ("p", "user", "Alice")] {
            assert_ne!(id, public_id(other.0, other.1, other.2));
        }
    }
}
