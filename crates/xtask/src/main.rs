//! `cargo xtask …`: the command line over the tasks of the repository.

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::setup::{Group, Outcome};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of this repository", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start the platform on this machine, with a running demo server: installs, builds, starts, and says how to log in
    Up {
        /// Return when the server answers; without it the control plane runs until Ctrl-C
        #[arg(long)]
        detach: bool,
        /// Directory of everything the platform keeps [default: /var/lib/wolke for root]
        #[arg(long, value_name = "DIR")]
        data: Option<std::path::PathBuf>,
        /// Address and port to serve on [default: 127.0.0.1:7780]
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<String>,
        /// The control plane only
        #[arg(long)]
        no_host: bool,
    },
    /// End what `up` started, and remove what it made: servers, networks, data
    Down {
        /// Directory given to `up`
        #[arg(long, value_name = "DIR")]
        data: Option<std::path::PathBuf>,
    },
    /// Install the Debian packages that are missing, after saying which
    Setup {
        /// Only say what is missing; exit with 1 if anything is
        #[arg(long)]
        check: bool,
        /// Only this group (repeatable): build, console, host, network, image, database, tests
        #[arg(long = "group", value_name = "GROUP", value_parser = group)]
        groups: Vec<Group>,
    },
    /// Prove the rules of the house: floors, dependencies, translations, files
    Check {
        /// Only these checks
        names: Vec<String>,
        /// Also run clippy, with warnings as errors
        #[arg(long)]
        clippy: bool,
    },
    /// Set the machine up and run every test and check; the last line is `N passed, N failed`
    Test {
        /// Only the tests of this crate (repeatable)
        #[arg(short, long = "package", value_name = "CRATE")]
        packages: Vec<String>,
    },
    /// Measure build times, cold and after changes, against docs/benchmarks.md
    Timings,
    /// Build the disk of the test guest and print where it is
    GuestImage,
    /// Build the web console, which `wolke` takes in when it is built next
    Console,
}

fn group(name: &str) -> Result<Group, String> {
    Group::from_name(name).ok_or_else(|| format!("there is no group {name}"))
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<bool> {
    match task {
        Task::Up { detach, data, listen, no_host } => xtask::up::up(xtask::up::Up { detach, data, listen, no_host }).map(|()| true),
        Task::Down { data } => xtask::up::down(data).map(|()| true),
        Task::Setup { check, groups } => {
            let groups = if groups.is_empty() { Group::ALL.to_vec() } else { groups };
            Ok(xtask::setup::setup(&groups, check)? != Outcome::Incomplete)
        }
        Task::Check { names, clippy } => {
            let (passed, failed) = xtask::check::check(&names, clippy)?;
            println!("{passed} passed, {failed} failed");
            Ok(failed == 0)
        }
        Task::Test { packages } => xtask::test::test(&packages),
        Task::Timings => xtask::timings::timings(),
        Task::Console => Ok(xtask::console::build()? == xtask::console::Console::Built),
        Task::GuestImage => {
            println!("{}", xtask::guest_image::build()?.display());
            Ok(true)
        }
    }
}
