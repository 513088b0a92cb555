//! `wolke profile`: the saved logins, looked at and chosen among without asking the platform; deleting one logs it out.

use crate::{
    body,
    fail::Result,
    generate::leaf,
    login::process_env,
    output,
    profile::{self, DEFAULT, Profile, Store},
    sign_in::{give_back, named, shown},
};
use base::{Clock, Timestamp};
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value as Json, json};

pub fn command() -> Command {
    let names = || Arg::new("name").value_name("NAME");
    Command::new("profile")
        .about("Saved logins.")
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(leaf("list", "List saved logins."))
        .subcommand(leaf("show", "Show one, without its secrets.").arg(names().help("Its name; left out: the one in use")))
        .subcommand(
            Command::new("use")
                .about("Use one when none is named.")
                .arg(names().required(true).help("Its name; a new one is made by `wolke login --profile`")),
        )
        .subcommand(
            Command::new("delete").about("Log out of some, and remove them.").arg(names().required(true).num_args(1..).help("Their names")),
        )
}

/// Runs `wolke profile`.
pub async fn run(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("show", inner)) => show(inner),
        Some(("use", inner)) => choose(inner),
        Some(("delete", inner)) => delete(inner).await,
        Some((_, inner)) => list(inner),
        None => Ok(()),
    }
}

/// How a profile stands, without asking the platform.
fn state(profile: &Profile) -> String {
    if profile.credential.is_some() {
        return "renews itself".into();
    }
    if !profile.password.is_empty() {
        return "password".into();
    }
    if profile.token.is_empty() {
        return "logged out".into();
    }
    match Timestamp::parse(&profile.expires_at) {
        Some(end) if end <= Clock::real().now() => format!("ended {}", shown(&profile.expires_at)),
        _ => format!("until {}", shown(&profile.expires_at)),
    }
}

fn row(name: &str, current: &str, profile: &Profile) -> Json {
    json!({"current": if name == current { "*" } else { "" }, "name": name, "user": profile.user, "domain": profile.domain, "project": profile.project,
        "login": state(profile), "auth_url": profile.auth_url})
}

fn list(matches: &ArgMatches) -> Result<()> {
    let store = Store::of(&process_env)?;
    let current = store.current()?;
    let mut rows = Vec::new();
    for name in store.names()? {
        rows.push(row(&name, &current, &store.known(&name)?.1));
    }
    output::list(matches, "profiles", &rows)?;
    if let Some(url) = process_env("OS_AUTH_URL") {
        eprintln!("OS_AUTH_URL is set: commands without --profile use the environment ({url})");
    }
    Ok(())
}

fn show(matches: &ArgMatches) -> Result<()> {
    let name = body::text(matches, "name").map_or_else(|| named(matches), |n| Ok(n.to_string()))?;
    let (saved, profile) = profile::known(&process_env, &name)?;
    let current = Store::of(&process_env).and_then(|s| s.current()).unwrap_or_else(|_| DEFAULT.into());
    let mut shown = row(&name, &current, &profile);
    for (key, value) in [
        ("project_domain", profile.project_domain),
        ("region", profile.region),
        ("ca_file", profile.ca_file),
        ("sso", profile.sso),
        ("application_credential", profile.credential.map(|c| c.id).unwrap_or_default()),
        ("file", saved.path.display().to_string()),
    ] {
        shown[key] = value.into();
    }
    shown["insecure"] = profile.insecure.into();
    output::one(matches, &shown)
}

fn choose(matches: &ArgMatches) -> Result<()> {
    let name = body::text(matches, "name").unwrap_or_default();
    let store = Store::of(&process_env)?;
    let (_, profile) = store.known(name)?;
    store.choose(name)?;
    eprintln!("commands use the profile {name} now ({}: {})", profile.user, state(&profile));
    for variable in ["OS_AUTH_URL", "WOLKE_PROFILE"] {
        if process_env(variable).is_some() {
            eprintln!("but {variable} is set, and comes before it");
        }
    }
    Ok(())
}

async fn delete(matches: &ArgMatches) -> Result<()> {
    let store = Store::of(&process_env)?;
    for name in body::many(matches, "name") {
        let (_, profile) = store.known(name)?;
        give_back(profile, name).await;
        store.delete(name)?;
        eprintln!("the profile {name} is gone");
    }
    Ok(())
}
