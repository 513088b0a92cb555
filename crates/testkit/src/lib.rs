//! What tests of several crates share. Nothing here is part of a running platform.

pub mod ledger;
pub mod replay;
