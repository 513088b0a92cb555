//! The region in process: a real engine, a real database, agents that speak the real protocol without a machine behind them.

mod addresses;
mod filters;
mod input;
mod licences;
mod lifecycle;
mod migrations;
mod pages;
mod parts;
mod placement;
mod quotas;
mod replay;
mod reports;
mod secrets;
mod sharing;
mod tasks;
mod ties;
mod usages;
mod world;
