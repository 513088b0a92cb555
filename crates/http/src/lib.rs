//! HTTP both ways, and the only crate that knows how: nothing above sees hyper, rustls or reqwest.
//!
//! A service builds a [`Router`] of handlers (`Fn(Request) -> Future<Output = Reply>`), an [`App`] puts services under prefixes, and a
//! [`Server`] listens. All that happens to every request is in one function, `layers::handle`. Calls to other services go through
//! [`Client`]. This crate never decides who may do what, and knows no resource.
//!
//! ```
//! use http::{App, Request, Response, Router, Server};
//! # async fn demo() -> base::Result<()> {
//! let router = Router::new().get("/servers/{id}", |r: Request| async move { Ok(Response::text(r.param("id"))) });
//! let app = App::new(telemetry::Metrics::default()).mount("/compute", "compute", router);
//! let mut server = Server::new(app);
//! let addr = server.bind("127.0.0.1:0", None).await?;
//! let serving = server.start();
//! // …
//! serving.stop().await;
//! # Ok(()) }
//! ```

mod app;
mod body;
mod builtin;
pub mod ca;
mod client;
pub mod error_body;
pub mod i18n;
mod io;
mod layers;
pub mod markup;
pub mod path;
mod pretence;
pub mod query;
mod request;
mod response;
mod router;
mod server;
mod stats;
mod tls;
pub mod tunnel;

pub use app::{App, Limits, Screen};
pub use body::ByteStream;
pub use bytes::Bytes;
pub use client::{Answer, Call, Client, ClientOptions, Trust};
pub use hyper::{
    HeaderMap, Method, StatusCode,
    header::{HeaderName, HeaderValue},
};
pub use path::Path;
pub use query::Query;
pub use request::{Request, shown_token};
pub use response::{JSON_TYPE, Response};
pub use router::{BoxFuture, Handler, Reply, Router};
pub use server::{Server, Serving};
pub use tls::{ClientCerts, Tls, is_tls_failure, trusting};
pub use tunnel::{Message, Tunnel, WebSocket};
