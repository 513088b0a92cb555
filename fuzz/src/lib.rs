//! What holds for every input of the parsers that strangers reach: nothing panics, nothing grows beyond its input, and what is refused stays
//! refused. Called by the fuzzer with what it makes up, and by a test of the identity service with every file of the corpus; must not
//! depend on time, threads or the network.

mod policy;
mod query;
mod sigv4;
mod token;

pub use policy::policy;
pub use query::query;
pub use sigv4::sigv4;
pub use token::token;
