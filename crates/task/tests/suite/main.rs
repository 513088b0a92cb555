//! The engine against real databases.

mod basic;
mod generic;
mod kit;
