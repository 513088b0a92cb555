//! The contract of the image service: the image resource, its states, and the metadata headers of its wire.
//!
//! The service serves it, the region and the host agent rely on it, the command line is generated from it. No database, no server, no files.

pub mod arch;
pub mod headers;
mod image;
mod info;
mod status;

pub use image::{Image, SubImage};
pub use info::Info;
pub use status::Status;

/// Service type and first word of a permission.
pub const SERVICE: &str = "image";

/// Asks the service to fetch the image itself (request header of create).
pub const COPY_FROM: &str = "x-glance-api-copy-from";
/// How the fetched file is packed: `gzip` or `tar.gz` (request header of create).
pub const COMPRESS_FORMAT: &str = "x-glance-compress-format";
