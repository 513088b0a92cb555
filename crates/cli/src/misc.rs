//! Commands that are about no resource: usages, tokens for hosts, shell completion.

use crate::{
    access, access_key, body, catalog::Service, fail::Result, generate::leaf, identity, output, profiles, session::Session, sign_in, totp,
};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value as Json, json};

pub fn commands() -> Vec<Command> {
    let option = |name: &'static str, value: &'static str, help: &'static str| Arg::new(name).long(name).value_name(value).help(help);
    let mut all = sign_in::commands();
    all.extend(identity::commands());
    all.extend([
        access::command(),
        access_key::command(),
        totp::command(),
        profiles::command(),
        leaf("usage", "Show what is used and what there is.")
            .arg(
                option("service", "SERVICE", "compute: machines, disks, addresses; identity: users, projects, roles")
                    .default_value("compute")
                    .value_parser(["compute", "identity"]),
            )
            .arg(option("scope", "SCOPE", "Whose: system, domain or project; left out: the widest allowed"))
            .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("Zeros too")),
        Command::new("host-token")
            .about("Tokens with which machines join as hosts.")
            .arg_required_else_help(true)
            .disable_help_subcommand(true)
            .subcommand(leaf("create", "Make a token for one machine, and show the command to run there.").arg(
                option("seconds", "N", "How long it is good, 60 to 604800").default_value("3600").value_parser(clap::value_parser!(i64)),
            )),
        Command::new("completion").about("Print the completion script of a shell.").arg(
            Arg::new("shell")
                .required(true)
                .value_parser(["bash", "zsh", "fish"])
                .help("For bash: wolke completion bash > /etc/bash_completion.d/wolke"),
        ),
    ]);
    all
}

/// Runs a command of this module; `false` when it is not one.
pub async fn run(name: &str, matches: &ArgMatches, whole: fn() -> Command) -> Result<bool> {
    if sign_in::run(name, matches).await? {
        return Ok(true);
    }
    match name {
        "access" => access::run(matches).await?,
        "totp" => totp::run(matches).await?,
        "profile" => profiles::run(matches).await?,
        "access-key" => access_key::run(matches).await?,
        "role-assignment" | "identity-quota" | "catalog" => identity::run(name, matches).await?,
        "usage" => usage(matches).await?,
        "host-token" => host_token(matches).await?,
        "completion" => completion(matches, whole())?,
        _ => return Ok(false),
    }
    Ok(true)
}

async fn usage(matches: &ArgMatches) -> Result<()> {
    let session = Session::open(matches).await?;
    let query: Vec<(String, String)> = body::text(matches, "scope").map(|s| ("scope".to_string(), s.to_string())).into_iter().collect();
    let service = body::text(matches, "service").and_then(Service::from_word).unwrap_or(Service::Compute);
    let mut answer = session.get(service, "/usages", &query).await?;
    if answer.as_object().is_some_and(|m| m.len() == 1)
        && let Some(inner) = answer.as_object_mut().and_then(|m| m.values_mut().next()).filter(|v| v.is_object())
    {
        answer = inner.take();
    }
    if let (Some(map), false) = (answer.as_object_mut(), body::flag(matches, "all")) {
        map.retain(|_, v| v.as_f64() != Some(0.0));
    }
    output::one(matches, &answer)
}

async fn host_token(matches: &ArgMatches) -> Result<()> {
    let Some((_, matches)) = matches.subcommand() else { return Ok(()) };
    let session = Session::open(matches).await?;
    let seconds = matches.get_one::<i64>("seconds").copied().unwrap_or(3600);
    let answer = session.post(Service::Compute, "/host_tokens", &json!({"host_token": {"seconds": seconds}})).await?;
    let mut made = answer["host_token"].clone();
    let mut command =
        format!("wolke host --region {} --token {}", session.url(Service::Compute)?, made["token"].as_str().unwrap_or_default());
    let ca = session.ca_file();
    if !ca.is_empty() {
        command.push_str(" --ca ca.pem");
    }
    if body::text(matches, "output") != Some("table") {
        made["command"] = Json::from(command);
        return output::one(matches, &made);
    }
    eprintln!("good once, for {seconds} s; run on the machine, as root:");
    if !ca.is_empty() {
        eprintln!("(with a copy of {ca} there: the platform's certificates are its own)");
    }
    output::print(&(command + "\n"))
}

fn completion(matches: &ArgMatches, mut whole: Command) -> Result<()> {
    use clap_complete::{Shell, generate};
    let shell = match body::text(matches, "shell") {
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut text = Vec::new();
    generate(shell, &mut whole, "wolke", &mut text);
    output::print(&String::from_utf8_lossy(&text))
}
