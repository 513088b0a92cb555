//! The agent of a hypervisor host.
//!
//! It dials the region, keeps the desired document, and makes it true: guests (QEMU processes that outlive it), disks, ports. The binary
//! calls [`run`]; tests and the simulator call [`Agent::start`] with other [`Parts`]. It never opens a port, never deletes what the document
//! does not name absent, and never touches a running guest because of its own restart.
//!
//! | module | does |
//! |---|---|
//! | `agent` | takes documents in, starts actors, reports |
//! | `dialer` | enrol, register, long poll |
//! | `guest` | one actor per guest: memory, pure decision, thin driver |
//! | `console` | screens and serial ports for people who wait at the region |
//! | `disk` | disks and image cache |
//! | `hypervisor`, `qemu` | the trait, and QEMU behind it |
//! | `records` | what survives the process |
//! | `sim` | all effects in memory, with faults |

mod agent;
mod board;
mod console;
mod crew;
mod dialer;
mod files;
mod jobs;
mod machine_room;
mod pause;
mod region_http;
mod run;
mod site;

pub mod disk;
pub mod guest;
pub mod hypervisor;
pub mod probe;
pub mod qemu;
pub mod records;
pub mod region;
pub mod sim;

pub use agent::{Agent, Parts, Talk};
pub use machine_room::MachineRoom;
pub use region_http::RegionHttp;
pub use run::{Config, run};
pub use site::Boot;
