//! Key pairs (spec 10 §6).

use base::{Resource, Timestamp};

/// A public key for logging in to servers; its user's own.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "keypair", plural = "keypairs", service = "compute", level = user)]
pub struct Keypair {
    #[field(flatten)]
    pub meta: base::meta::Standalone,
    #[field(flatten)]
    pub shared: base::meta::Shared,
    /// User it belongs to.
    #[field(filter)]
    pub owner_id: String,
    /// `RSA`, `ED25519`, `ECDSA`
    #[field(create, filter)]
    pub scheme: String,
    /// MD5 of the key, as OpenSSH prints it.
    #[field(filter, search)]
    pub fingerprint: String,
    /// One line as in `authorized_keys`; left out, a pair is made and its private half can be fetched once.
    #[field(create)]
    pub public_key: String,
    /// The private half until it was fetched, sealed.
    #[field(hidden)]
    pub private_key: String,
    /// When the private half was fetched.
    #[field(hidden)]
    pub taken_at: Option<Timestamp>,
}
