//! `wolke-sim`: simulated hosts for a platform that runs.
//!
//! ```sh
//! wolke up --no-host --data DATA &
//! wolke-sim --region http://127.0.0.1:7780/compute --admin DATA/admin.json --state STATE --count 1000
//! ```

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    sim::run(sim::Settings::parse()).await
}
