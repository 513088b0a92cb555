//! The service as its clients meet it: in process, on a port of its own, over real HTTP.

mod client;
mod copy_from;
mod crash;
mod download;
mod files;
mod full;
mod house;
mod replay;
mod rows;
mod schema;
mod upload;
