//! `wolke login`, `logout` and `whoami`: getting a token, keeping it in a profile, and giving it back.
//!
//! A login of another kind, as by a browser, ends as one by password does: a [`Session`] that has a token goes through `settle`.

use crate::{
    body,
    catalog::Service,
    fail::{Fail, Result},
    generate::leaf,
    login::process_env,
    login_sso::Device,
    output,
    profile::{self, BROWSER, Credential, DEVICE, Profile, Saved, Store},
    proof::Proof,
    session::Session,
    terminal,
};
use base::Clock;
use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use serde_json::json;

pub fn commands() -> Vec<Command> {
    let option = |name: &'static str, value: &'static str, help: &'static str| Arg::new(name).long(name).value_name(value).help(help);
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    vec![
        Command::new("login")
            .about("Log in, and keep the login for later commands.")
            .arg(option("auth-url", "URL", "Identity service, as http://127.0.0.1:7780/identity/v3").env("OS_AUTH_URL"))
            .arg(option("user", "NAME", "User").env("OS_USERNAME"))
            .arg(
                option("password", "TEXT|@FILE|-", "Password; left out: asked for (- reads a line, @FILE the file)")
                    .env("OS_PASSWORD")
                    .hide_env_values(true),
            )
            .arg(option("otp", "CODE", "One-time password, or a recovery code; left out: asked for if one is needed").env("OS_PASSCODE"))
            .arg(option("project", "NAME", "Project; left out: the only one, or asked for").env("OS_PROJECT_NAME"))
            .arg(option("domain", "NAME", "Domain of the user [default: Default]").env("OS_DOMAIN_NAME"))
            .arg(option("project-domain", "NAME", "Domain of the project; left out: that of the user").env("OS_PROJECT_DOMAIN"))
            .arg(option("region", "NAME", "Region; left out: the first").env("OS_REGION_NAME"))
            .arg(option("ca-file", "FILE", "CA certificate (PEM) to believe besides the machine's").env("OS_CACERT"))
            .arg(flag("insecure", "Believe any certificate"))
            .arg(flag("keep", "Make an application credential that renews the token until `wolke logout`"))
            .arg(
                option("application-credential", "ID", "Log in by this application credential instead of a password")
                    .conflicts_with_all(["password", "otp", "keep"]),
            )
            .arg(
                flag("sso", "Log in by a browser on this machine, by any way the platform knows: password, identity provider, second factor")
                    .conflicts_with_all(["device", "application-credential"]),
            )
            .arg(flag("device", "Log in by a browser anywhere: a page and a code are shown here").conflicts_with("application-credential"))
            .arg(flag("no-browser", "With --sso: show the page's address only, and start no browser").requires("sso"))
            .arg(
                option("secret", "TEXT|@FILE|-", "Its secret; left out: asked for (- reads a line, @FILE the file)")
                    .requires("application-credential"),
            )
            .after_help(
                "What is missing is asked for; what the profile knows from before is the usual answer. Kept is a token, never the password. \
                 When it ends (after a day, unless the platform says otherwise), the next command asks for the password again, or fails \
                 when there is no terminal. With --keep it does not end.\n\nExamples:\n  \
                 wolke login --auth-url https://cloud.example.com/identity/v3 --user alice --project web\n  \
                 wolke login --profile lab         # a second one; then: wolke server list --profile lab\n  \
                 wolke login --keep --password @/run/secrets/password\n  \
                 wolke login --sso                 # by the company's identity provider, in a browser\n  \
                 wolke login --device              # the same from a machine without a browser",
            ),
        Command::new("logout")
            .about("Void the token at the platform, and forget it.")
            .arg(flag("all", "Of every profile"))
            .after_help("What is known of the profile besides stays, so that `wolke login` asks for the password only; `wolke profile delete` removes that too."),
        leaf("whoami", "Show who one is logged in as."),
    ]
}

/// Runs a command of this module; `false` when it is not one.
pub async fn run(name: &str, matches: &ArgMatches) -> Result<bool> {
    match name {
        "login" => login(matches).await?,
        "logout" => logout(matches).await?,
        "whoami" => whoami(matches).await?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// The profile a command without one means.
pub fn named(matches: &ArgMatches) -> Result<String> {
    if let Some(name) = body::text(matches, "profile").map(str::to_string).or_else(|| process_env("WOLKE_PROFILE")) {
        return Ok(name);
    }
    Store::of(&process_env)?.current()
}

async fn login(matches: &ArgMatches) -> Result<()> {
    let saved = profile::saved(&process_env, &named(matches)?)?;
    let mut profile = wanted(matches, usual(&saved)?)?;
    let given = body::text(matches, "password").map(|p| body::secret(p, "password")).transpose()?;
    let session = if let Some(id) = body::text(matches, "application-credential") {
        let secret = match body::text(matches, "secret") {
            Some(given) => body::secret(given, "secret")?,
            None => terminal::secret("secret: ", "secret")?,
        };
        let credential = Credential { id: id.to_string(), secret, ..Credential::default() };
        profile.credential = Some(credential.clone());
        let mut session = Session::to(profile)?;
        session.prove(&Proof::Credential(credential)).await?;
        session
    } else if body::flag(matches, "sso") || body::flag(matches, "device") {
        by_door(matches, profile).await?
    } else {
        if profile.user.is_empty() || (body::text(matches, "user").is_none() && terminal::is_there()) {
            profile.user = terminal::line_or("user", "user", &profile.user)?;
        }
        let password = match given {
            Some(password) => password,
            None => terminal::secret(&format!("password of {}: ", profile.user), "password")?,
        };
        let mut session = Session::to(profile)?;
        session.by_password(&password, body::text(matches, "otp").unwrap_or_default()).await?;
        session
    };
    settle(session, saved, body::flag(matches, "keep")).await
}

/// By the platform's login page. Who it is, is said there; a project is asked for afterwards.
async fn by_door(matches: &ArgMatches, profile: Profile) -> Result<Session> {
    let typed = |name: &&str| matches.value_source(name) == Some(ValueSource::CommandLine);
    if let Some(name) = ["user", "domain", "password", "otp"].iter().find(|n| typed(n)) {
        return Err(Fail::usage(format!("--{name} is typed in the browser; leave it out with --sso and --device")));
    }
    let mut session = Session::to(profile)?;
    let who = if body::flag(matches, "device") {
        session.profile.sso = DEVICE.into();
        let tell = |device: &Device| {
            eprintln!("open {} in any browser and type in {}", device.uri, device.user_code);
            eprintln!("or open {}", device.complete);
        };
        session.at_device(tell).await?
    } else {
        session.profile.sso = BROWSER.into();
        let quiet = body::flag(matches, "no-browser");
        let open = |page: &str| {
            eprintln!("log in on this page, in a browser of this machine (on another one: --device)\n  {page}");
            if !quiet {
                browse(page);
            }
        };
        session.at_browser(open).await?
    };
    let profile = &mut session.profile;
    // As in `wanted`: another user's project is no usual answer.
    if (&profile.user, &profile.domain) != (&who.user, &who.domain) && body::text(matches, "project").is_none() {
        profile.project.clear();
        profile.project_domain.clear();
    }
    (profile.user, profile.domain) = (who.user, who.domain);
    session.prove(&Proof::Token(who.token)).await?;
    Ok(session)
}

/// Starts the browser of whoever sits at this machine. There may be none: the address is shown as well.
fn browse(page: &str) {
    if ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().all(|name| process_env(name).is_none()) {
        return;
    }
    // The shell leaves it behind, so that nobody waits for a browser to be closed.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "xdg-open \"$0\" >/dev/null 2>&1 &", page]).stdin(std::process::Stdio::null());
    let _none = shell.status();
}

/// What is known before anything is said: the profile as it was, or for a new one the platform of the one in use.
fn usual(saved: &Saved) -> Result<Profile> {
    if let Some(old) = saved.load()? {
        return Ok(old);
    }
    let Ok(store) = Store::of(&process_env) else { return Ok(Profile::default()) };
    let current = store.saved(&store.current()?)?.load()?.unwrap_or_default();
    Ok(Profile {
        auth_url: current.auth_url,
        ca_file: current.ca_file,
        insecure: current.insecure,
        region: current.region,
        ..Profile::default()
    })
}

/// The profile as it shall be, from the options and what it was before.
fn wanted(matches: &ArgMatches, old: Profile) -> Result<Profile> {
    let text = |id: &str, old: &str| body::text(matches, id).unwrap_or(old).to_string();
    let mut profile = Profile {
        auth_url: text("auth-url", &old.auth_url),
        user: text("user", &old.user),
        domain: text("domain", &old.domain),
        project: text("project", &old.project),
        project_domain: text("project-domain", &old.project_domain),
        region: text("region", &old.region),
        insecure: body::flag(matches, "insecure") || old.insecure,
        ca_file: text("ca-file", &old.ca_file),
        interface: "public".into(),
        ..Profile::default()
    };
    // Another user's project is no usual answer.
    if profile.user != old.user && body::text(matches, "project").is_none() {
        profile.project.clear();
        profile.project_domain.clear();
    }
    if profile.domain.is_empty() {
        profile.domain = "Default".into();
    }
    if profile.auth_url.is_empty() {
        profile.auth_url = terminal::line("identity service, as http://127.0.0.1:7780/identity/v3: ", "auth-url")?;
    }
    profile.auth_url = profile.auth_url.trim_end_matches('/').to_string();
    // A relative path would mean another file in another directory.
    if !profile.ca_file.is_empty() {
        let path = std::path::absolute(&profile.ca_file).map_err(|e| Fail::file(&profile.ca_file, &e))?;
        profile.ca_file = path.display().to_string();
    }
    Ok(profile)
}

/// What follows a login of any kind: a project, a credential to stay logged in by, and the saved profile.
async fn settle(mut session: Session, saved: Saved, keep: bool) -> Result<()> {
    if session.subject.project.is_none()
        && let Some((project, domain)) = project(&session)?
    {
        session.profile.project = project;
        session.profile.project_domain = domain;
        let token = session.token().to_string();
        session.prove(&Proof::Token(token)).await?;
    }
    session.profile.user = session.subject.user.name.clone();
    session.profile.domain = session.subject.user.domain.name.clone();
    if let Some(project) = &session.subject.project {
        session.profile.project = project.name.clone();
        session.profile.project_domain =
            if project.domain.name == session.profile.domain { String::new() } else { project.domain.name.clone() };
    }
    if keep {
        let credential = own_credential(&session).await?;
        // From now on by the credential alone; the password's token has done its work.
        session.profile.token = session.token().to_string();
        session.profile.credential = Some(credential.clone());
        session.revoke().await?;
        session.prove(&Proof::Credential(credential)).await?;
        session.profile.sso.clear();
    }
    let (name, path) = (saved.name.clone(), saved.path.clone());
    // What the profile had before is not left lying about at the platform.
    if let Some(old) = saved.load()? {
        give_back(old, &name).await;
    }
    session.saved = Some(saved);
    session.keep()?;
    let who = &session.subject;
    let place = who.project.as_ref().map_or("no project".to_string(), |p| format!("project {}", p.name));
    eprintln!("logged in as {} in {place}; profile {name}, saved in {}", who.user.name, path.display());
    eprintln!(
        "{}",
        if session.profile.credential.is_some() { "it renews itself".into() } else { format!("until {}", shown(&who.expires_at)) }
    );
    if let Ok(store) = Store::of(&process_env)
        && !name.contains('/')
        && store.current()? != name
    {
        eprintln!("use it with --profile {name}, or for all commands with `wolke profile use {name}`");
    }
    Ok(())
}

/// The project of a login without one: the only one, or the one a person chooses; with its domain when that is not the user's.
fn project(session: &Session) -> Result<Option<(String, String)>> {
    let all = &session.subject.projects;
    let taken = match &all[..] {
        [] => None,
        [one] => Some(one),
        _ if !terminal::is_there() => {
            eprintln!(
                "logged in to no project; name one with --project: {}",
                all.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")
            );
            None
        }
        _ => {
            for (i, project) in all.iter().enumerate() {
                eprintln!("{:>4}  {} ({})", i + 1, project.name, project.domain.name);
            }
            let given = terminal::line("project, by number or name (empty: none): ", "project")?;
            let number = given.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            let found = number.and_then(|n| all.get(n)).or_else(|| all.iter().find(|p| p.name == given || p.id == given));
            if found.is_none() && !given.is_empty() {
                return Err(Fail::usage(format!("{given} is none of these; log in again and choose one")));
            }
            found
        }
    };
    Ok(taken.map(|p| {
        let own = p.domain.id == session.subject.user.domain.id;
        (p.name.clone(), if own { String::new() } else { p.domain.name.clone() })
    }))
}

/// An application credential of this machine's.
async fn own_credential(session: &Session) -> Result<Credential> {
    if session.subject.project.is_none() {
        return Err(Fail::usage("--keep needs a project; name one with --project"));
    }
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = format!("wolke on {}, {}", machine.trim(), Clock::real().now());
    let wish = json!({"application_credential": {"name": name, "description": "Made by `wolke login --keep`; its logout deletes it."}});
    let made = session.post(Service::Identity, "/application_credentials", &wish).await?;
    let text = |key: &str| made["application_credential"][key].as_str().unwrap_or_default().to_string();
    Ok(Credential { id: text("id"), secret: text("secret"), own: true, ..Credential::default() })
}

/// Voids at the platform what a profile holds. Failures are told: the secrets may be good for a while yet.
pub async fn give_back(profile: Profile, name: &str) {
    if profile.token.is_empty() {
        return;
    }
    let (credential, expires_at) = (profile.credential.clone(), profile.expires_at.clone());
    let outcome = async {
        let mut session = Session::to(profile)?;
        if let Some(own) = credential.filter(|c| c.own) {
            // Deleting it voids its tokens; the stored one may have ended already.
            session.prove(&Proof::Credential(own.clone())).await?;
            return session.delete(Service::Identity, &format!("/application_credentials/{}", own.id)).await;
        }
        session.revoke().await
    };
    match outcome.await {
        // Ended or void already.
        Err(fail) if fail.status() != 401 => {
            let until = if expires_at.is_empty() { String::new() } else { format!(" until {}", shown(&expires_at)) };
            eprintln!("the platform did not void the login of the profile {name}, which is good{until}: {}", fail.message());
        }
        _ => {}
    }
}

async fn logout(matches: &ArgMatches) -> Result<()> {
    let names = if body::flag(matches, "all") { Store::of(&process_env)?.names()? } else { vec![named(matches)?] };
    for name in names {
        let saved = profile::saved(&process_env, &name)?;
        match saved.load()? {
            Some(mut profile) if profile.opens() => {
                give_back(profile.clone(), &name).await;
                profile.close();
                saved.save(&profile)?;
                eprintln!("logged out of the profile {name}");
            }
            _ => eprintln!("the profile {name} is not logged in"),
        }
    }
    Ok(())
}

async fn whoami(matches: &ArgMatches) -> Result<()> {
    let session = Session::open(matches).await?;
    let who = &session.subject;
    let (project, domain) = who.project.as_ref().map(|p| (p.name.clone(), p.domain.name.clone())).unwrap_or_default();
    let roles: Vec<&str> = who.roles.iter().map(|r| r.name.as_str()).collect();
    let from = session.saved.as_ref().map(|s| s.name.clone());
    output::one(
        matches,
        &json!({"user": who.user.name, "user_id": who.user.id, "user_domain": who.user.domain.name, "project": project,
            "project_id": who.project.as_ref().map(|p| p.id.clone()), "project_domain": domain, "roles": roles, "methods": who.methods,
            "issued_at": who.issued_at, "expires_at": who.expires_at, "profile": from, "auth_url": session.profile.auth_url}),
    )
}

/// A time as people read it: without the fraction.
pub fn shown(at: &str) -> String {
    at.get(..19).map_or_else(|| at.to_string(), |s| format!("{} UTC", s.replace('T', " ")))
}
