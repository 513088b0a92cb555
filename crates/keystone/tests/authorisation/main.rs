//! The whole of authorisation: the matrix of every role and permission, a walk over every path, random worlds.

#[path = "../suite/kit.rs"]
#[allow(dead_code, reason = "the suite uses all of it")]
mod kit;
mod matrix;
mod walk;
mod worlds;
