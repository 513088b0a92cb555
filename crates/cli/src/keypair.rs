//! Key pairs: a public key of one's own, or a pair made by the platform whose private half is fetched once and saved.

use crate::{
    body,
    catalog::{Field, Service},
    fail::{Fail, Result},
    generate::{fielded, leaf},
    output,
    session::{Session, segment},
};
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value as Json, json};
use std::{io::Write, os::unix::fs::OpenOptionsExt};

pub fn create_command(fields: &[Field]) -> Command {
    let command = leaf("create", "Make a key pair, or take in a public key.")
        .arg(Arg::new("f:name").value_name("NAME").required(true).help("Name"))
        .arg(
            Arg::new("public-key")
                .long("public-key")
                .value_name("KEY")
                .help("A line as in authorized_keys; @FILE reads it; left out: a pair is made"),
        )
        .arg(
            Arg::new("save")
                .long("save")
                .value_name("FILE")
                .help("Where the private half of a made pair goes")
                .conflicts_with("public-key"),
        );
    let rest: Vec<Field> = fields.iter().filter(|f| !["name", "public_key"].contains(&f.name.as_str())).cloned().collect();
    fielded(command, &rest, false)
}

pub async fn create(matches: &ArgMatches) -> Result<()> {
    let known = crate::catalog::resource("keypair").and_then(|r| r.create.as_deref()).unwrap_or_default();
    let rest: Vec<Field> = known.iter().filter(|f| f.name != "public_key").cloned().collect();
    let mut keypair = body::fields(&rest, matches)?;
    if let Some(key) = body::text(matches, "public-key") {
        keypair.insert("public_key".into(), Json::from(body::from_file(key)?.trim()));
    }
    let save = body::text(matches, "save");
    // Before anything is made: the private half can be fetched once only.
    let file = match save {
        Some(path) => {
            let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            Some((path, open.map_err(|e| Fail::file(path, &e))?))
        }
        None => None,
    };
    let made = async {
        let session = Session::open(matches).await?;
        let answer = session.post(Service::Compute, "/keypairs", &json!({ "keypair": keypair })).await?;
        Ok((session, answer["keypair"].clone()))
    };
    let (session, keypair) = match (made.await, save) {
        (Err(fail), Some(path)) => {
            let _empty = std::fs::remove_file(path);
            return Err(fail);
        }
        (outcome, _) => outcome?,
    };
    if let Some((path, mut file)) = file {
        let id = keypair["id"].as_str().unwrap_or_default();
        let answer = session.get(Service::Compute, &format!("/keypairs/{}/privatekey", segment(id)), &[]).await?;
        let private = answer["keypair"]["private_key"].as_str().unwrap_or_default();
        file.write_all(private.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| Fail::file(path, &e))?;
        eprintln!("the private key is in {path}");
    } else if keypair["private_key_len"].as_i64().unwrap_or(0) > 0 {
        eprintln!("fetch the private key, once: wolke keypair privatekey {}", keypair["name"].as_str().unwrap_or_default());
    }
    output::one(matches, &keypair)
}
