//! The `wolke` program: the platform, one service of it, the host agent, and the command line.

mod agent;
mod allowance;
mod console;
mod data;
mod down;
mod frame;
mod front;
mod images;
mod paper;
mod services;
mod settings;
mod up;

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::process::ExitCode;

/// Against the C library's: a third less processor time for a page of servers and a quarter of the memory kept after a load (decision 0011).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The whole command line: our own commands, and those of the client.
fn whole() -> Command {
    let up = up::Up::augment_args(Command::new("up")).about("Run the whole platform on this machine.");
    let down = down::Down::augment_args(
        Command::new("down").about("End what `wolke up` and `wolke host` run and made on this machine: servers too."),
    );
    let wolke = Command::new("wolke")
        .version(telemetry::version())
        .about("A cloud platform in one program.")
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([up, down].map(cli::literal))
        .subcommands(paper::commands().map(cli::literal));
    let mut servers: Vec<Command> = services::commands().collect();
    servers.push(agent::Host::augment_args(Command::new("host").about("Run the host agent.")));
    let mut servers: Vec<Command> = servers.into_iter().map(cli::literal).collect();
    let mut wolke = wolke;
    for command in cli::commands() {
        // `wolke host --region …` is the agent, `wolke host list` lists hosts; so with the region service and `wolke region list`.
        let Some(at) = servers.iter().position(|s| s.get_name() == command.get_name()) else {
            wolke = wolke.subcommand(command);
            continue;
        };
        let server = servers.remove(at);
        let about = format!("{} Or: {}", server.get_about().unwrap_or_default(), command.get_about().unwrap_or_default());
        let both = server.about(about).defer(|command| {
            let word = command.get_name().to_string();
            command.subcommands(cli::verbs(&word))
        });
        wolke = wolke.subcommand(both.subcommand_negates_reqs(true).args_conflicts_with_subcommands(true).disable_help_subcommand(true));
    }
    wolke.subcommands(servers)
}

/// Whether a command line is for a process of the platform, and not for the client.
fn serves(name: &str, inner: &ArgMatches) -> bool {
    let server = name == "host" || services::SERVICES.iter().any(|(known, ..)| *known == name);
    matches!(name, "up" | "down") || (server && inner.subcommand().is_none())
}

fn main() -> ExitCode {
    let matches = whole().get_matches();
    let Some((name, inner)) = matches.subcommand() else { return ExitCode::FAILURE };
    if matches!(name, "license" | "web") {
        return match paper::run(name, inner) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("wolke: {e:#}");
                ExitCode::FAILURE
            }
        };
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("wolke: no runtime: {e}");
            return ExitCode::FAILURE;
        }
    };
    if !serves(name, inner) {
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
            // Whoever starts the program is its operator: there is no log to look into that he does not see.
            if let Some(cause) = e.downcast_ref::<base::Error>().and_then(base::Error::context) {
                eprintln!("  {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(name: &str, matches: &ArgMatches) -> Result<()> {
    match name {
        "up" => up::run(up::Up::from_arg_matches(matches)?).await,
        "down" => down::run(down::Down::from_arg_matches(matches)?).await,
        "host" => agent::run(agent::Host::from_arg_matches(matches)?).await,
        service => services::run(service, matches).await,
    }
}
