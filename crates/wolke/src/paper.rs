//! `wolke license` and `wolke web`: what is printed and not served.

use anyhow::{Context, Result, bail};
use apigateway::{
    licence::{self, Limits, Terms, text},
    nginx::{self, Site},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, FromArgMatches, Subcommand};
use std::path::{Path, PathBuf};

#[derive(Subcommand, Clone, Debug)]
pub enum License {
    /// Make a key to sign licences with, and print its public half for licence_signers.
    Key {
        /// File for the private key.
        file: PathBuf,
    },
    /// Sign a licence and print it.
    Sign(Sign),
    /// Say what a licence grants, and whether one of the signers signed it.
    Show {
        /// File of the licence.
        file: PathBuf,
        /// Public key to believe, as printed by: wolke license key. Several times for several.
        #[arg(long, required = true)]
        signer: Vec<String>,
    },
}

#[derive(Args, Clone, Debug)]
pub struct Sign {
    /// File of the private key, made with: wolke license key
    #[arg(long)]
    key: PathBuf,
    #[arg(long, default_value = "standard")]
    edition: String,
    /// To whom.
    #[arg(long)]
    issued_to: String,
    /// From when on, as 2026-01-01T00:00:00Z; left out: always was.
    #[arg(long, default_value = "")]
    not_before: String,
    /// Until when; left out: for ever.
    #[arg(long, default_value = "")]
    not_after: String,
    /// Most hosts; 0 for any number.
    #[arg(long, default_value_t = 0)]
    hosts: i64,
    /// Most virtual processors of all servers; 0 for any number.
    #[arg(long, default_value_t = 0)]
    cpus: i64,
    /// Most servers; 0 for any number.
    #[arg(long, default_value_t = 0)]
    servers: i64,
    /// Type of a service it covers, as compute_v2; none: all.
    #[arg(long)]
    service: Vec<String>,
    /// Key of a feature it covers; none: all.
    #[arg(long)]
    feature: Vec<String>,
}

#[derive(Subcommand, Clone, Debug)]
pub enum Web {
    /// Print the configuration of an nginx before the gateway.
    NginxConfig(Nginx),
}

#[derive(Args, Clone, Debug)]
pub struct Nginx {
    /// Name browsers use.
    #[arg(long, default_value = "_")]
    server_name: String,
    /// Address and port of the gateway.
    #[arg(long, default_value = "127.0.0.1:7780")]
    upstream: String,
    /// The gateway speaks TLS.
    #[arg(long)]
    upstream_tls: bool,
    /// PEM file of the certificate chain.
    #[arg(long, default_value = "/etc/wolke/tls/cert.pem")]
    certificate: String,
    /// PEM file of its key.
    #[arg(long, default_value = "/etc/wolke/tls/key.pem")]
    private_key: String,
    #[arg(long, default_value_t = 443)]
    https: u16,
    #[arg(long, default_value_t = 80)]
    http: u16,
    /// This nginx has the module for brotli.
    #[arg(long)]
    brotli: bool,
}

pub fn commands() -> [clap::Command; 2] {
    let license = clap::Command::new("license").about("Make and read licences.").subcommand_required(true).arg_required_else_help(true);
    let web = clap::Command::new("web").about("What belongs to the web console.").subcommand_required(true).arg_required_else_help(true);
    [License::augment_subcommands(license), Web::augment_subcommands(web)]
}

pub fn run(name: &str, matches: &clap::ArgMatches) -> Result<()> {
    let text = match name {
        "license" => license(License::from_arg_matches(matches)?)?,
        _ => {
            let Web::NginxConfig(n) = Web::from_arg_matches(matches)?;
            for word in [&n.server_name, &n.upstream, &n.certificate, &n.private_key] {
                if word.is_empty() || word.contains(|c: char| c.is_whitespace() || matches!(c, ';' | '{' | '}' | '"' | '\'')) {
                    bail!("{word:?} cannot stand in a configuration of nginx");
                }
            }
            nginx::config(&Site {
                server_name: n.server_name,
                upstream: n.upstream,
                upstream_tls: n.upstream_tls,
                certificate: n.certificate,
                private_key: n.private_key,
                https: n.https,
                http: n.http,
                brotli: n.brotli,
            })
        }
    };
    println!("{}", text.trim_end());
    Ok(())
}

fn license(what: License) -> Result<String> {
    match what {
        License::Key { file } => {
            let mut seed = [0u8; 32];
            getrandom::fill(&mut seed).context("the kernel gives no random bytes")?;
            private(&file, &hex::encode(seed))?;
            Ok(text::signer(&seed)?)
        }
        License::Sign(s) => {
            let key = std::fs::read_to_string(&s.key).with_context(|| format!("{} cannot be read", s.key.display()))?;
            let seed = hex::decode(key.trim())
                .with_context(|| format!("{} is no signing key; make one with: wolke license key", s.key.display()))?;
            for (option, time) in [("--not-before", &s.not_before), ("--not-after", &s.not_after)] {
                if !time.is_empty() && base::Timestamp::parse(time).is_none() {
                    bail!("{option} {time}: give a time as 2026-01-01T00:00:00Z");
                }
            }
            let terms = Terms {
                id: base::hex_id(),
                edition: s.edition,
                issued_to: s.issued_to,
                issued_at: base::Clock::real().now().to_string(),
                not_before: s.not_before,
                not_after: s.not_after,
                limits: Limits { hosts: s.hosts, cpus: s.cpus, servers: s.servers },
                services: s.service,
                features: s.feature,
            };
            Ok(text::sign(&terms, &seed)?)
        }
        License::Show { file, signer } => {
            let signed = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            let keys: Result<Vec<Vec<u8>>> =
                signer.iter().map(|s| URL_SAFE_NO_PAD.decode(s).with_context(|| format!("{s} is no public key"))).collect();
            let terms = text::read(&signed, &keys?)?;
            let mut shown = serde_json::to_value(&terms)?;
            shown["status"] = licence::standing(&terms, base::Clock::real().now()).word().into();
            Ok(serde_json::to_string_pretty(&shown)?)
        }
    }
}

/// A new file only its owner can read; one that is there is not touched.
fn private(file: &Path, text: &str) -> Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("{} cannot be made, or is there already", file.display()))?;
    writeln!(out, "{text}")?;
    Ok(())
}
