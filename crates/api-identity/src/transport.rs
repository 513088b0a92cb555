//! How a request reaches the identity service: over the network, or straight into its router in the same process.

use base::{Json, Result};
use std::{future::Future, pin::Pin};

/// One request. The path begins behind the service's address, `/auth/tokens`, with its query.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: &'static str,
    pub path: &'a str,
    /// The caller's own token.
    pub token: Option<&'a str>,
    /// The token that is spoken of.
    pub subject: Option<&'a str>,
    pub body: Option<Json>,
}

/// A successful answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The header `X-Subject-Token`.
    pub subject: Option<String>,
    pub body: Json,
}

/// Carries requests. An answer of 400 and above is an error of the class it names.
pub trait Transport: Send + Sync {
    fn call<'a>(&'a self, call: Call<'a>) -> Pin<Box<dyn Future<Output = Result<Reply>> + Send + 'a>>;
}
