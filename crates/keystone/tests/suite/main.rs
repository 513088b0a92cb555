//! The identity service over a real port: bootstrap, logins, resources, permissions, recorded clients.

mod bootstrap;
mod grants;
mod kit;
mod login;
mod permissions;
mod replay;
mod resources;
