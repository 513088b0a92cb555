//! The image service as the region sees it: in the same process, or over the network.

mod local;
mod remote;

pub use local::LocalImages;
pub use remote::RemoteImages;
