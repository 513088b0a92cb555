//! `wolke totp`: the second factor of oneself, and taking it from somebody who has lost it.

use crate::{
    body,
    catalog::Service,
    fail::{Fail, Result},
    generate::leaf,
    output,
    session::{Session, segment},
    terminal,
};
use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use qrcodegen::{QrCode, QrCodeEcc};
use serde_json::{Value as Json, json};

pub fn command() -> Command {
    let code = || Arg::new("code").value_name("CODE").help("Six digits of the generator, or a recovery code; left out: asked for");
    Command::new("totp")
        .about("The second factor of your login: one-time passwords of a generator app.")
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(leaf("show", "Say whether one is asked for, and how many recovery codes are left."))
        .subcommand(
            leaf("enable", "Begin: shows the secret for the app, and at a terminal asks for its first code.")
                .arg(
                    Arg::new("password")
                        .long("password")
                        .value_name("TEXT|@FILE|-")
                        .env("OS_PASSWORD")
                        .hide_env_values(true)
                        .help("Your password; left out: asked for (- reads a line, @FILE the file)"),
                )
                .arg(Arg::new("no-picture").long("no-picture").action(ArgAction::SetTrue).help("No picture to scan"))
                .after_help(
                    "Nothing is asked for at login before a code was confirmed. Confirming voids the logins that were made without one.",
                ),
        )
        .subcommand(leaf("confirm", "End what `enable` began, with the app's first code; shows the recovery codes, this once.").arg(code()))
        .subcommand(leaf("recovery-codes", "Make ten new recovery codes, each good once; the old ones are void.").arg(code()))
        .subcommand(leaf("disable", "Ask for no code any more.").arg(code()))
        .subcommand(
            leaf("remove", "As an administrator: take away the factor of a user who has lost generator and recovery codes.")
                .arg(Arg::new("user").value_name("USER").required(true).help("Id or name")),
        )
}

pub async fn run(matches: &ArgMatches) -> Result<()> {
    let Some((verb, matches)) = matches.subcommand() else { return Ok(()) };
    let session = Session::open(matches).await?;
    let user = match verb {
        "remove" => body::text(matches, "user").unwrap_or_default().to_string(),
        _ => session.subject.user.id.clone(),
    };
    let desk = Desk { path: format!("/users/{}/second_factor", segment(&user)), session, matches };
    match verb {
        "enable" => desk.enable().await,
        "confirm" => desk.confirm(&desk.code()?).await,
        "recovery-codes" => desk.codes(desk.send("/recovery-codes", json!({"passcode": desk.code()?})).await?),
        "disable" => {
            desk.send("/remove", json!({"passcode": desk.code()?})).await?;
            eprintln!("no code is asked for any more");
            Ok(())
        }
        "remove" => {
            desk.session.delete(Service::Identity, &desk.path).await?;
            eprintln!("{user} logs in with the password alone now");
            Ok(())
        }
        _ => desk.show().await,
    }
}

struct Desk<'a> {
    session: Session,
    path: String,
    matches: &'a ArgMatches,
}

impl Desk<'_> {
    fn code(&self) -> Result<String> {
        match body::text(self.matches, "code") {
            Some(code) => Ok(code.to_string()),
            None if terminal::is_there() => terminal::line("code: ", "code"),
            None => Err(Fail::usage("give the code as an argument: there is no terminal to ask at")),
        }
    }

    fn for_people(&self) -> bool {
        body::text(self.matches, "output") == Some("table")
    }

    async fn send(&self, action: &str, inner: Json) -> Result<Json> {
        let call = self.session.call(Service::Identity, Method::POST, &format!("{}{action}", self.path))?;
        let mut answer = self.session.json(call.json(&json!({ "second_factor": inner }))).await?;
        Ok(answer["second_factor"].take())
    }

    async fn show(&self) -> Result<()> {
        let answer = self.session.get(Service::Identity, &self.path, &[]).await?;
        output::one(self.matches, &answer["second_factor"])
    }

    async fn enable(&self) -> Result<()> {
        let password = match body::text(self.matches, "password") {
            Some(given) => body::secret(given, "password")?,
            None => terminal::secret(&format!("password of {}: ", self.session.subject.user.name), "password")?,
        };
        let begun = self.send("", json!({ "password": password })).await?;
        if !self.for_people() {
            return output::one(self.matches, &begun);
        }
        let text = |key: &str| begun[key].as_str().unwrap_or_default().to_string();
        let (secret, uri) = (text("secret"), text("uri"));
        if !body::flag(self.matches, "no-picture") {
            eprintln!("Scan this with your generator app:\n");
            eprintln!("{}", picture(&uri)?);
        }
        eprintln!("Or type this secret into it (time-based, six digits):");
        output::print(&format!("{}\n", grouped(&secret)))?;
        if !terminal::is_there() {
            eprintln!("then, with its code: wolke totp confirm CODE");
            return Ok(());
        }
        self.confirm(&terminal::line("code that it shows now: ", "code")?).await
    }

    async fn confirm(&self, code: &str) -> Result<()> {
        self.codes(self.send("/confirm", json!({ "passcode": code })).await?)?;
        if self.session.saved.is_some() {
            eprintln!("A code is asked for at every login from now on. This login is void; log in again with `wolke login`.");
        }
        Ok(())
    }

    /// Recovery codes, which are shown once.
    fn codes(&self, answer: Json) -> Result<()> {
        if !self.for_people() {
            return output::one(self.matches, &answer);
        }
        let codes = answer["recovery_codes"].as_array().map(Vec::as_slice).unwrap_or_default();
        eprintln!("Recovery codes, each good once in place of a code of the app. Write them down; they are not shown again:\n");
        output::print(&codes.iter().filter_map(Json::as_str).map(|c| format!("{c}\n")).collect::<String>())
    }
}

/// The secret in groups of four, as people type it.
fn grouped(secret: &str) -> String {
    let letters: Vec<char> = secret.chars().collect();
    letters.chunks(4).map(|c| c.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

/// Light modules around the code, which readers need (ISO/IEC 18004 §6.3.8).
const MARGIN: i32 = 4;

/// A QR code in characters, two rows a line, dark on light whatever the terminal's colours are.
fn picture(text: &str) -> Result<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).map_err(|e| Fail::usage(format!("the address fits in no picture: {e}")))?;
    // Beyond the code there is light as well.
    let light = |x: i32, y: i32| !code.get_module(x, y);
    let mut out = String::new();
    for y in (-MARGIN..code.size() + MARGIN).step_by(2) {
        out.push_str("\u{1b}[97;40m");
        for x in -MARGIN..code.size() + MARGIN {
            out.push(match (light(x, y), light(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        out.push_str("\u{1b}[0m\n");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #[test]
    fn secrets_are_shown_as_they_are_typed() {
        assert_eq!(super::grouped("ABCDEFGHIJ"), "ABCD EFGH IJ");
    }

    #[test]
    fn a_picture_is_a_square_with_a_margin() {
        let picture = super::picture("otpauth://totp/wolke:ann?secret=ABCD").expect("it fits");
        let rows: Vec<&str> = picture.lines().map(|l| l.trim_start_matches("\u{1b}[97;40m").trim_end_matches("\u{1b}[0m")).collect();
        let width = rows[0].chars().count();
        assert!(rows.iter().all(|r| r.chars().count() == width) && rows.len() * 2 >= width, "{picture}");
        // The margin is light: drawn, on the dark ground.
        assert!(rows[0].chars().all(|c| c == '█'), "{picture}");
    }
}
