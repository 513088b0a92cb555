//! The `wolke` program: the platform, one service of it, the host agent, and the command line.

mod agent;
mod data;
mod down;
mod images;
mod up;

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::process::ExitCode;

/// The whole command line: our own commands, and those of the client.
fn whole() -> Command {
    let up = up::Up::augment_args(Command::new("up").about("Run the whole platform on this machine."));
    let down = down::Down::augment_args(
        Command::new("down").about("End what `wolke up` and `wolke host` run and made on this machine: servers too."),
    );
    let wolke = Command::new("wolke")
        .version(telemetry::version())
        .about("A cloud platform in one program.")
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(up)
        .subcommand(down);
    cli::commands().into_iter().fold(wolke, |wolke, command| {
        // `wolke host --region …` is the agent, `wolke host list` lists hosts.
        if command.get_name() == "host" {
            let both = agent::Host::augment_args(command.arg_required_else_help(false))
                .about("Run the host agent; or work with the hosts of the platform.")
                .subcommand_negates_reqs(true)
                .args_conflicts_with_subcommands(true);
            return wolke.subcommand(both);
        }
        wolke.subcommand(command)
    })
}

fn main() -> ExitCode {
    let matches = whole().get_matches();
    let Some((name, inner)) = matches.subcommand() else { return ExitCode::FAILURE };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("wolke: no runtime: {e}");
            return ExitCode::FAILURE;
        }
    };
    let ours = matches!(name, "up" | "down") || (name == "host" && inner.subcommand().is_none());
    if !ours {
        return runtime.block_on(cli::run(name, inner, whole));
    }
    if let Err(e) = telemetry::init(&telemetry::Logging::default()) {
        eprintln!("wolke: {e}");
        return ExitCode::FAILURE;
    }
    match runtime.block_on(run(name, inner)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("wolke: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(name: &str, matches: &ArgMatches) -> Result<()> {
    match name {
        "up" => up::run(up::Up::from_arg_matches(matches)?).await,
        "down" => down::run(down::Down::from_arg_matches(matches)?).await,
        _ => agent::run(agent::Host::from_arg_matches(matches)?).await,
    }
}
