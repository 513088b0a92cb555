//! The program `wolke-saml`, asked: a process for each question, with nothing of ours in its environment, ended after a while. What it refuses
//! becomes an error that says what to change; the whole reason goes to the log.

use super::config::Saml;
use crate::state::State;
use api_identity::saml::{ClaimQuestion, LONGEST_QUESTION, Login, LoginQuestion, MetadataQuestion, Question, Reason, Refusal, Verdict};
use base::{Error, Result, err};
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

const PROGRAM: &str = "wolke-saml";
/// How long an answer may take. The program gives itself five seconds of processor.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many are asked at once; others wait. Each may take 256 MiB.
static PLACES: Semaphore = Semaphore::const_new(4);

/// The program: the one that is configured, or beside this one, or wherever programs are.
fn program(state: &State) -> PathBuf {
    if !state.config.saml_program.is_empty() {
        return PathBuf::from(&state.config.saml_program);
    }
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(PROGRAM)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM))
}

async fn ask(state: &State, question: &Question) -> Result<Verdict> {
    let text = serde_json::to_vec(question).map_err(Error::internal)?;
    if text.len() > LONGEST_QUESTION {
        return Err(err!(InvalidCredential, "the response is longer than any identity provider's"));
    }
    let program = program(state);
    let _place = PLACES.acquire().await.map_err(Error::internal)?;
    let mut command = Command::new(&program);
    command.env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| {
        let told = err!(
            InvalidIdpStatus,
            "the program {} cannot be started, and SAML needs it: install it beside wolke (cargo build --release -p saml), or name it in keystone.saml_program",
            program.display()
        );
        told.with_context(e.to_string())
    })?;
    let (mut stdin, mut stdout) = match (child.stdin.take(), child.stdout.take()) {
        (Some(stdin), Some(stdout)) => (stdin, stdout.take(LONGEST_QUESTION as u64)),
        _ => return Err(Error::internal(format_args!("{PROGRAM} has no pipes"))),
    };
    let talk = async {
        let mut answer = Vec::new();
        let said = async {
            // A program that has seen enough closes its end; its answer counts, not this.
            let _closed = stdin.write_all(&text).await;
            drop(stdin);
        };
        let (_, read) = tokio::join!(said, stdout.read_to_end(&mut answer));
        read.map_err(Error::internal)?;
        let status = child.wait().await.map_err(Error::internal)?;
        Ok::<_, Error>((status, answer))
    };
    let failed = |why: String| {
        err!(InvalidCredential, "the response of the identity provider could not be looked at; begin the login again").with_context(why)
    };
    let (status, answer) = tokio::time::timeout(PATIENCE, talk).await.map_err(|_| failed("no answer in time".into()))??;
    if !status.success() {
        return Err(failed(format!("{PROGRAM}: {status}")));
    }
    serde_json::from_slice(&answer).map_err(|e| failed(format!("{PROGRAM}: {e}")))
}

/// The request a response claims to answer; empty for none.
pub async fn claim(state: &State, provider: &str, response: &str) -> Result<String> {
    match ask(state, &Question::Claim(ClaimQuestion { response: response.to_string() })).await? {
        Verdict::Claim(claim) => Ok(claim.in_response_to),
        other => Err(unfit(provider, "", other)),
    }
}

pub async fn login(state: &State, provider: &str, question: &LoginQuestion) -> Result<Login> {
    match ask(state, &Question::Login(question.clone())).await? {
        Verdict::Login(login) => Ok(login),
        other => Err(unfit(provider, &format!("{} at {}", question.sp_entity_id, question.acs_url), other)),
    }
}

/// A configuration with what the provider's metadata adds to it.
pub async fn complete(state: &State, mut config: Saml) -> Result<Saml> {
    if !config.metadata.trim().is_empty() {
        let question = MetadataQuestion { xml: std::mem::take(&mut config.metadata), entity_id: config.entity_id.clone() };
        let found = match ask(state, &Question::Metadata(question)).await? {
            Verdict::Metadata(found) => found,
            Verdict::Refused(refusal) => {
                return Err(err!(InputParameter, "config.saml.metadata cannot be used: {}", refusal.detail));
            }
            _ => return Err(Error::internal(format_args!("{PROGRAM} answers another question"))),
        };
        for (key, value) in [
            (&mut config.entity_id, found.entity_id),
            (&mut config.redirect_sso_url, found.redirect_url),
            (&mut config.post_sso_url, found.post_url),
            (&mut config.certificates, found.certificates.join("\n")),
        ] {
            if key.trim().is_empty() {
                *key = value;
            }
        }
    }
    for (key, missing) in [
        ("entity_id", config.entity_id.is_empty()),
        ("certificates", config.certificates.is_empty()),
        ("redirect_sso_url", config.redirect_sso_url.is_empty() && config.post_sso_url.is_empty()),
    ] {
        if missing {
            return Err(err!(MissingParameter, "config.saml.{} is missing; the provider's metadata would say it too", key));
        }
    }
    Ok(config)
}

/// Whether the keys of the configuration can be used.
pub async fn certificates(state: &State, config: &Saml) -> Result<()> {
    // They are looked at before the response, which is none.
    let question = LoginQuestion { certificates: config.certificates(), ..LoginQuestion::default() };
    match ask(state, &Question::Login(question)).await? {
        Verdict::Refused(Refusal { reason: Reason::Certificate, detail }) => {
            Err(err!(InputParameter, "config.saml.certificates cannot be used: {}", detail))
        }
        _ => Ok(()),
    }
}

/// `here`: what this platform is called, and where the response came.
fn unfit(provider: &str, here: &str, verdict: Verdict) -> Error {
    let Verdict::Refused(Refusal { reason, detail }) = verdict else {
        return Error::internal(format_args!("{PROGRAM} answers another question"));
    };
    tracing::info!(provider, ?reason, detail, "a response of an identity provider is refused");
    let told = match reason {
        Reason::Status => err!(InvalidCredential, "the identity provider {} says that the login failed: {}", provider, detail),
        Reason::Encrypted => {
            err!(InvalidCredential, "the identity provider {} encrypts what it says: switch that off there for this platform", provider)
        }
        Reason::Algorithm => err!(InvalidCredential, "the identity provider {} signs too weakly: set it to RSA with SHA-256", provider),
        Reason::Audience | Reason::Recipient | Reason::Destination => {
            err!(InvalidCredential, "the identity provider {} speaks to somebody else: register this platform there as {}", provider, here)
        }
        Reason::Issuer => err!(InvalidCredential, "the response is not of the identity provider {}: compare its entity_id", provider),
        Reason::Expired | Reason::NotYetValid => {
            err!(
                InvalidCredential,
                "what the identity provider {} says is not valid now: begin the login again, and compare the clocks",
                provider
            )
        }
        Reason::Subject => err!(InvalidCredential, "the identity provider {} does not say who logged in", provider),
        Reason::InResponseTo => super::not_begun(),
        // Nobody is told which of his forgeries came how far.
        _ => err!(InvalidCredential, "the response of the identity provider {} is not believed; begin the login again", provider),
    };
    told.with_context(format!("{reason:?}: {detail}"))
}
