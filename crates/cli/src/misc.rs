//! Commands that are about no resource: logins, usages, tokens for hosts, shell completion.

use crate::{
    access, body,
    catalog::Service,
    fail::{Fail, Result},
    generate::leaf,
    login::{self, Profile},
    output,
    session::Session,
};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value as Json, json};
use std::io::{BufRead, IsTerminal, Write};

pub fn commands() -> Vec<Command> {
    let option = |name: &'static str, value: &'static str, help: &'static str| Arg::new(name).long(name).value_name(value).help(help);
    vec![
        Command::new("login")
            .about("Save a login for later commands, after trying it.")
            .arg(option("auth-url", "URL", "Identity service, as http://127.0.0.1:7780/identity/v3").env("OS_AUTH_URL"))
            .arg(option("user", "NAME", "User").env("OS_USERNAME"))
            .arg(option("password", "TEXT", "Password; left out: asked for").env("OS_PASSWORD").hide_env_values(true))
            .arg(option("project", "NAME", "Project").env("OS_PROJECT_NAME"))
            .arg(option("domain", "NAME", "Domain of user and project").default_value("Default"))
            .arg(option("region", "NAME", "Region; left out: the first").env("OS_REGION_NAME"))
            .arg(option("ca-file", "FILE", "CA certificate (PEM) to believe besides the machine's"))
            .arg(Arg::new("insecure").long("insecure").action(ArgAction::SetTrue).help("Believe any certificate")),
        Command::new("logout").about("Forget the saved login."),
        access::command(),
        leaf("whoami", "Show who one is logged in as."),
        leaf("usage", "Show what is used and what there is.")
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
    ]
}

/// Runs a command of this module; `false` when it is not one.
pub async fn run(name: &str, matches: &ArgMatches, whole: fn() -> Command) -> Result<bool> {
    match name {
        "login" => login(matches).await?,
        "logout" => logout()?,
        "access" => access::run(matches).await?,
        "whoami" => whoami(matches).await?,
        "usage" => usage(matches).await?,
        "host-token" => host_token(matches).await?,
        "completion" => completion(matches, whole())?,
        _ => return Ok(false),
    }
    Ok(true)
}

async fn login(matches: &ArgMatches) -> Result<()> {
    let text = |id: &str| body::text(matches, id).unwrap_or_default().to_string();
    let mut profile = Profile {
        auth_url: text("auth-url").trim_end_matches('/').to_string(),
        user: text("user"),
        password: text("password"),
        domain: text("domain"),
        project: text("project"),
        region: text("region"),
        insecure: body::flag(matches, "insecure"),
        ca_file: text("ca-file"),
        interface: "public".into(),
        ..Profile::default()
    };
    for (value, option) in [(&mut profile.auth_url, "auth-url"), (&mut profile.user, "user")] {
        if value.is_empty() {
            *value = ask(&format!("{option}: "), option, true)?;
        }
    }
    if profile.password.is_empty() {
        profile.password = ask("password: ", "password", false)?;
    }
    let path = login::saved(&login::process_env).ok_or_else(|| Fail::usage("no place to save to: set HOME or WOLKE_PROFILE"))?;
    let session = Session::of(profile.clone()).await?;
    login::save(&path, &profile)?;
    eprintln!("logged in as {}; saved in {}", session.subject.user.name, path.display());
    Ok(())
}

/// A secret from the terminal, unseen, or a line of what is piped in.
pub fn secret() -> Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return ask("secret: ", "password", false);
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).map_err(|e| Fail::file("stdin", &e))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_string())
}

/// One line of the terminal. A password is not shown while it is typed.
fn ask(prompt: &str, option: &str, echo: bool) -> Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Fail::usage(format!("--{option} is missing")));
    }
    eprint!("{prompt}");
    let _gone = std::io::stderr().flush();
    let before = tcgetattr(&stdin).map_err(|e| Fail::file("terminal", &e.into()))?;
    if !echo {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(|e| Fail::file("terminal", &e.into()))?;
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if !echo {
        let _gone = tcsetattr(&stdin, OptionalActions::Now, &before);
        eprintln!();
    }
    read.map_err(|e| Fail::file("terminal", &e))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_string())
}

fn logout() -> Result<()> {
    let Some(path) = login::saved(&login::process_env) else { return Ok(()) };
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Fail::file(&path.display().to_string(), &e)),
        _ => Ok(()),
    }
}

async fn whoami(matches: &ArgMatches) -> Result<()> {
    let session = Session::open().await?;
    let who = &session.subject;
    let (project, domain) = who.project.as_ref().map(|p| (p.name.clone(), p.domain.name.clone())).unwrap_or_default();
    let roles: Vec<&str> = who.roles.iter().map(|r| r.name.as_str()).collect();
    output::one(
        matches,
        &json!({"user": who.user.name, "user_id": who.user.id, "user_domain": who.user.domain.name, "project": project,
            "project_domain": domain, "roles": roles, "expires_at": who.expires_at}),
    )
}

async fn usage(matches: &ArgMatches) -> Result<()> {
    let session = Session::open().await?;
    let query: Vec<(String, String)> = body::text(matches, "scope").map(|s| ("scope".to_string(), s.to_string())).into_iter().collect();
    let mut answer = session.get(Service::Compute, "/usages", &query).await?;
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
    let session = Session::open().await?;
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
