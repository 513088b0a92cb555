//! The service as its clients meet it: in process, on a port of its own, over real HTTP.

mod files;
mod schema;
