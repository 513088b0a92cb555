//! Simulated hosts: any number of real agents in one process, over machines that are directories, talking HTTP to a real region.
//!
//! The binary `wolke-sim` runs them; tests and benchmarks start it beside `wolke up`. Its machines outlive it as guests outlive an agent, so
//! that killing and starting it again is what killing and starting an agent is. Nothing here is part of a running platform.
//!
//! | module | does |
//! |---|---|
//! | `fleet` | the agents and their machines |
//! | `enrol` | tokens for hosts that are new |
//! | `deaths` | notices guests that were killed from outside |
//! | `walk` | compares machines with the region's rows: who holds what nobody has |

mod deaths;
mod enrol;
mod fleet;
mod walk;

pub use enrol::Administrator;
pub use fleet::{Fleet, Settings, run};
pub use walk::{guests, kill_guest, strays};
