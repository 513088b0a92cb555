//! The simulated hosts of the tests, as a process of their own: it can be killed.

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    sim::run(sim::Settings::parse()).await
}
