//! Typed configuration. A TOML file, then the environment, then overrides from the command line: later ones win key by key.
//!
//! A service declares one struct with `#[derive(Default, Deserialize)] #[serde(default)]`; all its defaults are in that struct's `Default`.
//! [`load`] reports every mistake at once, each with where it stands: an unknown key, a value of the wrong type, a missing one. Nothing here
//! knows a service or an option by name, and no value is ever printed when it is a [`Secret`].
//!
//! The environment variable of key `http.head_size` is `WOLKE_HTTP_HEAD_SIZE`; lists are comma separated there. Maps with free keys
//! (`HashMap`) can only be set in the file and by overrides. On Kubernetes the pods need `enableServiceLinks: false`, or the variables made up
//! for services called `wolke-…` look like keys.
//!
//! ```
//! #[derive(Default, serde::Deserialize)]
//! #[serde(default)]
//! struct Options { listen: String, http: Http }
//! #[derive(serde::Deserialize)]
//! #[serde(default)]
//! struct Http { head_size: usize }
//! impl Default for Http { fn default() -> Http { Http { head_size: 65536 } } }
//!
//! let options: Options = config::load(&config::Sources {
//!     file: Some(("wolke.toml".into(), "listen = '0.0.0.0:443'\n".into())),
//!     environment: vec![("WOLKE_HTTP_HEAD_SIZE".into(), "8192".into())],
//!     ..Default::default()
//! }).unwrap();
//! assert_eq!(options.http.head_size, 8192);
//! ```

mod load;
mod tree;
mod types;

pub use load::{Problem, Problems, Sources, load};
pub use types::{Period, Secret, period};
