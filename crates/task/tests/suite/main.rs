//! The engine against real databases.

mod basic;
mod crash;
mod engine;
mod generic;
mod kit;
mod model;
mod point;
mod random;
