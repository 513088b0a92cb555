//! The client commands of the `wolke` binary: every resource of every service, generated from the services' own documents, and a few
//! commands on top for what people do most.
//!
//! The binary puts [`commands`] beside its own and hands what was chosen to [`run`]. This crate only speaks HTTP to a platform; it never
//! opens a database, and what it knows of a resource is what the document says.
//!
//! | module | does |
//! |---|---|
//! | `catalog` | resources, fields and actions, read from `docs/openapi` |
//! | `generate` | a command for each |
//! | `body` | from options to a request body or query |
//! | `login`, `profile`, `proof`, `session` | who one is, how that is shown, and calls in that name |
//! | `sign_in`, `profiles`, `terminal` | logging in and out, saved logins, and asking at the terminal |
//! | `generic` | runs the generated commands |
//! | `access`, `access_key`, `identity`, `totp` | who may do what; keys; roles, quotas, events; the second factor |
//! | `server`, `image`, `keypair`, `console`, `misc` | runs the others |
//! | `output`, `table` | what is printed |

mod access;
mod access_key;
mod body;
mod catalog;
mod console;
mod fail;
mod generate;
mod generic;
mod identity;
mod image;
mod keypair;
mod login;
pub mod login_sso;
mod misc;
mod output;
mod profile;
mod profiles;
mod proof;
mod server;
mod session;
mod sign_in;
mod table;
mod terminal;
mod totp;
mod wait;

use clap::{ArgMatches, Command};
use fail::Fail;
pub use generate::literal;
use std::process::ExitCode;

/// Every client command.
pub fn commands() -> Vec<Command> {
    let mut all: Vec<Command> = catalog::resources().iter().map(generate::resource).collect();
    all.extend(misc::commands());
    all.into_iter().map(|command| literal(command.arg(generate::profile()))).collect()
}

/// The verbs of one of [`commands`], for a command that is something else besides.
pub fn verbs(word: &str) -> Vec<Command> {
    generate::verbs_of(word).into_iter().map(|verb| literal(verb.arg(generate::profile()))).collect()
}

/// Runs the command of this name. Errors go to stderr with their class and request id; the exit code is then 1. `whole` makes the whole
/// command line, for shell completion.
pub async fn run(name: &str, matches: &ArgMatches, whole: fn() -> Command) -> ExitCode {
    match dispatch(name, matches, whole).await {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough (`| head`) is no error of ours.
        Err(fail) if fail.is_closed_pipe() => ExitCode::SUCCESS,
        Err(fail) => {
            eprintln!("{fail}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(name: &str, matches: &ArgMatches, whole: fn() -> Command) -> Result<(), Fail> {
    if misc::run(name, matches, whole).await? {
        return Ok(());
    }
    let Some((verb, inner)) = matches.subcommand() else {
        return Err(Fail::usage(format!("say what to do with it; `wolke {name} --help` lists it")));
    };
    match (name, verb) {
        ("server", "create") => server::create(inner).await,
        ("server", "ssh") => server::ssh(inner).await,
        ("server", "vnc") => console::vnc(inner).await,
        ("server", "console") => console::run(inner).await,
        ("server", "wait") => server::wait(inner).await,
        ("image", "create") => image::create(inner).await,
        ("image", "show") => image::show(inner).await,
        ("image", "download") => image::download(inner).await,
        ("keypair", "create") => keypair::create(inner).await,
        ("event", "export") => identity::export(inner).await,
        _ if identity::nested(name).iter().any(|(known, _)| *known == verb) => {
            identity::list_nested(&format!("{name}s"), verb, inner).await
        }
        _ => generic::run(name, verb, inner).await,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_is_well_formed() {
        clap::Command::new("wolke").subcommands(super::commands()).debug_assert();
    }

    /// Every option of every command that takes a text: `--password -x`, `--description -x` and the like.
    #[test]
    fn values_may_begin_with_a_dash() {
        fn walk(command: &clap::Command, path: &str, seen: &mut usize) {
            let path = format!("{path} {}", command.get_name());
            for arg in command.get_opts().filter(|a| a.get_num_args().is_none_or(|n| n.min_values() == 1)) {
                assert!(arg.is_allow_hyphen_values_set(), "{path} --{}", arg.get_long().unwrap_or_default());
                *seen += 1;
            }
            command.get_subcommands().for_each(|inner| walk(inner, &path, seen));
        }
        let mut whole = clap::Command::new("wolke").subcommands(super::commands());
        whole.build();
        let mut seen = 0;
        walk(&whole, "", &mut seen);
        assert!(seen > 1_000, "only {seen}");
        let login = ["wolke", "login", "--user", "ann", "--password", "-Yt6_"];
        let login = whole.try_get_matches_from(login).expect("a right command line");
        let (_, login) = login.subcommand().expect("login");
        assert_eq!(super::body::text(login, "password"), Some("-Yt6_"));
    }
}
