//! The `wolke` program: the platform, one service of it, the host agent, and the command line.

mod data;
mod images;
mod up;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "wolke", version, about = "A cloud platform in one program.", disable_help_subcommand = true)]
struct Wolke {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole platform on this machine.
    Up(up::Up),
}

fn main() -> ExitCode {
    let wolke = Wolke::parse();
    let logging = telemetry::init(&telemetry::Logging::default());
    if let Err(e) = logging {
        eprintln!("wolke: {e}");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("wolke: no runtime: {e}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(wolke.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("wolke: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Up(args) => up::run(args).await,
    }
}
