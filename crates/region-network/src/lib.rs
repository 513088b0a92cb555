//! Region, second link: networks, and which address goes to whom. Knows no server, only interfaces that have addresses.

mod allocate;
mod network;
mod range;

pub use allocate::{Wish, allocate, new_mac, release};
pub use network::kinds;
pub use range::{Range, cidr};
