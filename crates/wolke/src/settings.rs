//! What an operator decides: one set of keys for every process, from a TOML file, the environment and the command line.
//!
//! `wolke up` and `wolke <service>` read the same file; a process passes over the sections of others. Every key is an environment variable
//! too: `WOLKE_` and the key in capitals, dots as underscores.

use anyhow::{Context, Result};
use api_identity::Secret;
use clap::Args;
use serde::Deserialize;
use std::path::PathBuf;

/// The keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Directory of what this process keeps: SQLite files, images, secrets. One process at a time may use it.
    pub data: PathBuf,
    /// Address and port to serve on; empty: the service's usual port on 127.0.0.1.
    pub listen: String,
    /// URL clients reach this process at; empty: made of the address.
    pub url: String,
    /// PEM files of a certificate chain and its key; empty: of the CA in the data directory, unless only this machine can connect.
    pub certificate: PathBuf,
    pub private_key: PathBuf,
    /// Speak HTTP without TLS on any address: behind a proxy that does it.
    pub plain: bool,
    /// `postgres://user@host/wolke_{service}`; empty: SQLite files in the data directory.
    pub database: String,
    /// Secrets in databases are sealed with it: 64 hex digits, the same for all processes of an installation. Empty: made in the data
    /// directory at first start.
    pub secret_key: Secret,
    /// The region's name in the catalogue.
    pub region_name: String,
    /// How this process reaches the identity service; not for `up` and `keystone`.
    pub identity: Identity,
    pub keystone: keystone::Config,
    pub glance: glance::Options,
    pub region: region::Settings,
    /// The web console and its gateway.
    pub apigateway: apigateway::Options,
}

/// A service's account with the identity service.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// As `https://keystone:30500/v3`.
    pub url: String,
    pub user: String,
    pub password: Secret,
    pub domain: String,
    pub project: String,
    /// PEM file of the CA to believe besides the machine's.
    pub ca: PathBuf,
}

impl Default for Identity {
    fn default() -> Identity {
        Identity {
            url: String::new(),
            user: String::new(),
            password: Secret::default(),
            domain: "Default".into(),
            project: "system".into(),
            ca: PathBuf::new(),
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            data: crate::data::default_dir(),
            listen: String::new(),
            url: String::new(),
            certificate: PathBuf::new(),
            private_key: PathBuf::new(),
            plain: false,
            database: String::new(),
            secret_key: Secret::default(),
            region_name: "region0".into(),
            identity: Identity::default(),
            keystone: keystone::Config::default(),
            glance: glance::Options::default(),
            region: region::Settings::default(),
            apigateway: apigateway::Options::default(),
        }
    }
}

/// The part of a command line that every server process has.
#[derive(Args, Clone, Debug, Default)]
pub struct Sources {
    /// Configuration file, TOML.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Any key of the configuration, as in --set keystone.token_expiration_seconds=3600
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Directory of databases, images, secrets and the host's guests.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Address and port to serve on.
    #[arg(long)]
    pub listen: Option<String>,
    /// URL clients reach the platform at; left out: made of the listening address.
    #[arg(long)]
    pub url: Option<String>,
    /// Database, as postgres://user@host/wolke_{service}; left out: SQLite files in the data directory.
    #[arg(long)]
    pub database: Option<String>,
}

/// Variables that are no keys: of logging, of the command line, of the host agent.
const OTHERS: [&str; 8] = [
    "WOLKE_LOG",
    "WOLKE_PROFILE",
    "WOLKE_PASSWORD",
    "WOLKE_HOST_DATA",
    "WOLKE_HOST_TOKEN",
    "WOLKE_REGION_URL",
    "WOLKE_CA",
    "WOLKE_ADMIN_PASSWORD",
];

impl Sources {
    pub fn load(&self) -> Result<Settings> {
        let mut overrides = Vec::new();
        for text in &self.set {
            let (key, value) = text.split_once('=').with_context(|| format!("--set {text}: a key and a value, as in --set plain=true"))?;
            overrides.push((key.to_string(), value.to_string()));
        }
        let flags = [
            ("data", self.data.as_ref().map(|p| p.display().to_string())),
            ("listen", self.listen.clone()),
            ("url", self.url.clone()),
            ("database", self.database.clone()),
        ];
        overrides.extend(flags.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))));
        let mut sources = config::Sources::of_process(self.config.as_deref(), overrides)?;
        sources.other_variables.extend(OTHERS.map(String::from));
        Ok(config::load(&sources)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_for_every_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("wolke.toml");
        let text = "database = 'postgres://w@db/wolke_{service}'\n[identity]\nurl = 'https://k:30500/v3'\n[keystone]\npassword_minimal_length = 12\n\
                    [[keystone.services]]\nname = 'region2'\ntype = 'compute_v2'\npublic_url = 'https://r:30888'\n\
                    [glance]\nverify = '5m'\n[region]\ndns = ['10.0.0.2']\nstop_timeout = 60\n[region.bounds]\ncpu = 4.0\n";
        std::fs::write(&file, text).expect("written");
        let sources =
            Sources { config: Some(file.clone()), set: vec!["plain=true".into()], listen: Some("0.0.0.0:1".into()), ..Sources::default() };
        let found = sources.load().expect("readable");
        assert_eq!((found.listen.as_str(), found.plain, found.identity.project.as_str()), ("0.0.0.0:1", true, "system"));
        assert_eq!((found.keystone.password_minimal_length, found.keystone.services[0].name.as_str()), (12, "region2"));
        assert_eq!(
            (found.glance.verify.as_secs(), found.region.dns.as_slice(), found.region.stop_timeout),
            (300, &["10.0.0.2".to_string()][..], 60)
        );
        assert_eq!(found.region.bounds.cpu, 4.0);

        std::fs::write(&file, "lisen = 'x'\n[region]\nhost_timeout = 'soon'\n").expect("written");
        let told = Sources { set: Vec::new(), ..sources }.load().expect_err("two mistakes").to_string();
        assert!(told.contains("wolke.toml:1") && told.contains("wolke.toml:3"), "{told}");
    }
}
