//! The tasks of the repository, as functions: `cargo xtask …` is a thin command line over them, and the start of a whole platform on
//! one machine uses the same set-up.
//!
//! Nothing here is part of the product, and nothing of the product is needed to build this crate: it is the first thing that must work on
//! a fresh machine.

pub mod check;
pub mod console;
pub mod guest_image;
pub mod repo;
pub mod run;
pub mod setup;
pub mod test;
pub mod timings;
pub mod up;
