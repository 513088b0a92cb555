//! The engine against real databases.

mod basic;
mod kit;
