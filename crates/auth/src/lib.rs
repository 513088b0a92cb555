//! Who asks, and what they may do.
//!
//! - [`token`]: signed tokens that every service verifies by itself;
//! - [`sigv4`]: requests signed with an access key; [`totp`]: one-time passwords;
//! - [`password`]: stored passwords and the rules for new ones;
//! - [`policy`]: the policy language as a pure function, with the explanation of its answer;
//! - [`bindings`]: which policies a caller has, by role, project, address and time;
//! - [`defaults`]: the policies and roles an installation starts with;
//! - [`seal`]: secrets as they lie in databases;
//! - [`guard`]: from the headers of a request to its caller.
//!
//! This crate decides; it stores nothing, asks nobody and knows resources only as words in policies.

pub mod bindings;
pub mod defaults;
pub mod guard;
pub mod password;
pub mod pkce;
pub mod policy;
pub mod seal;
pub mod sigv4;
pub mod token;
pub mod totp;

pub use bindings::{Binding, Bindings};
pub use guard::{Guard, Identified};
pub use policy::{Decision, Explanation, Policy, PolicySet};
pub use seal::Seal;
pub use token::{Claims, KeyRing, Limits, Refused, Revocation, Revoked, SigningKey, Verifier};
