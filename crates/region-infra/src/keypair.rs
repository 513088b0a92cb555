//! Key pairs: given by their user, or made here and fetched once.

use crate::{rsa, shared};
use api_compute::Keypair;
use auth::Seal;
use base::{Error, Kind as Cell, Result, Row, err};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use resource::{ActionFact, BoxFuture, Hooks, Kind, Map, Naming, Op, Page, Reply};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use std::sync::Arc;
use store::{Cond, Pick, Read, Select, work};

struct KeypairHooks {
    seal: Arc<Seal>,
}

impl Hooks for KeypairHooks {
    fn create<'a>(&'a self, _op: &'a Op<'a>, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let given = row.text("public_key").trim().to_string();
            if given.is_empty() {
                let name = row.name().to_string();
                // Clients that leave the scheme out mean the one they always meant.
                let (public, private) = match row.text("scheme").to_ascii_uppercase().as_str() {
                    "ED25519" => ed25519(&name)?,
                    "RSA" | "" => {
                        // Too long for a thread that serves others.
                        let made = tokio::task::spawn_blocking(rsa::generate).await.map_err(Error::internal)?;
                        let (blob, key) = made?;
                        (line("ssh-rsa", &blob, &name), pem("RSA PRIVATE KEY", 64, &key))
                    }
                    other => return Err(err!(InputParameter, "scheme: {} is not one of {}", other, "RSA, ED25519")),
                };
                row.set("public_key", public);
                row.set("private_key", self.seal.close(&private)?);
            } else {
                row.set("public_key", given);
            }
            let (scheme, fingerprint) = read(row.text("public_key"))?;
            row.set("scheme", scheme);
            row.set("fingerprint", fingerprint);
            Ok(())
        })
    }
    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(crate::infra::not_empty(op, rows, &[("servers", "keypair_id")]))
    }
    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let select = Select::from("servers")
                .column("keypair_id", Cell::Text)
                .pick(Pick::Count)
                .filter(Cond::is_in("keypair_id", page.ids("id")).and(Cond::eq("deleted", false)))
                .group_by("keypair_id");
            let mut db = &op.engine.db;
            let linked = db.rows(&select).await?;
            for i in 0..page.rows.len() {
                let n = linked.iter().find(|r| r[0].as_str() == page.rows[i].id()).and_then(|r| r[1].as_int()).unwrap_or(0);
                page.add(i, "linked_guest_count", n);
                let sealed = page.rows[i].text("private_key");
                let length = if sealed.is_empty() { 0 } else { self.seal.open(sealed)?.len() };
                page.add(i, "private_key_len", length);
                if page.rows[i].text("owner_id") == op.ctx.caller.user_id {
                    page.add(i, "owner_name", op.ctx.caller.user.clone());
                }
            }
            Ok(())
        })
    }
}

/// A new Ed25519 pair: the line for `authorized_keys`, and the private half as OpenSSH writes it (PROTOCOL.key of OpenSSH).
fn ed25519(comment: &str) -> Result<(String, String)> {
    let mut seed = [0u8; 32];
    getrandom(&mut seed)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(Error::internal)?;
    let public = pair.public_key().as_ref();
    let mut blob = Vec::new();
    field(&mut blob, b"ssh-ed25519");
    field(&mut blob, public);

    let mut secret = Vec::new();
    let check = &seed[..4];
    secret.extend_from_slice(check);
    secret.extend_from_slice(check);
    secret.extend_from_slice(&blob);
    field(&mut secret, &[&seed[..], public].concat());
    field(&mut secret, comment.as_bytes());
    for pad in 1.. {
        if secret.len().is_multiple_of(8) {
            break;
        }
        secret.push(pad);
    }
    let mut file = b"openssh-key-v1\0".to_vec();
    field(&mut file, b"none");
    field(&mut file, b"none");
    field(&mut file, b"");
    file.extend_from_slice(&1u32.to_be_bytes());
    field(&mut file, &blob);
    field(&mut file, &secret);
    Ok((line("ssh-ed25519", &blob, comment), pem("OPENSSH PRIVATE KEY", 70, &file)))
}

/// A line for `authorized_keys`.
fn line(algorithm: &str, blob: &[u8], comment: &str) -> String {
    format!("{algorithm} {} {}", BASE64.encode(blob), comment.replace(char::is_whitespace, "-"))
}

/// RFC 7468
fn pem(label: &str, width: usize, bytes: &[u8]) -> String {
    let text = BASE64.encode(bytes);
    let lines = text.as_bytes().chunks(width).map(|c| String::from_utf8_lossy(c).into_owned()).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

fn getrandom(into: &mut [u8]) -> Result<()> {
    use ring::rand::{SecureRandom, SystemRandom};
    SystemRandom::new().fill(into).map_err(Error::internal)
}

fn field(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    into.extend_from_slice(bytes);
}

/// Scheme and MD5 fingerprint of a public key line (RFC 4253 §6.6).
fn read(line: &str) -> Result<(&'static str, String)> {
    use md5::{Digest, Md5};
    let bad = || err!(InputParameter, "public_key is not a line as in authorized_keys, for example ssh-ed25519 AAAA… name");
    let mut words = line.split_whitespace();
    let (name, blob) = (words.next().ok_or_else(bad)?, words.next().ok_or_else(bad)?);
    let scheme = match name {
        "ssh-rsa" => "RSA",
        "ssh-ed25519" => "ED25519",
        n if n.starts_with("ecdsa-sha2-") => "ECDSA",
        other => {
            return Err(err!(
                InputParameter,
                "public_key: {} is not one of {}",
                other,
                "ssh-rsa, ssh-ed25519, ecdsa-sha2-nistp256/384/521"
            ));
        }
    };
    if line.lines().count() != 1 || line.len() > 16_384 {
        return Err(bad());
    }
    let bytes = BASE64.decode(blob).map_err(|_| bad())?;
    let inner = bytes.get(..4).map(|n| u32::from_be_bytes([n[0], n[1], n[2], n[3]]) as usize).ok_or_else(bad)?;
    if bytes.get(4..4 + inner) != Some(name.as_bytes()) {
        return Err(bad());
    }
    let digest = Md5::digest(&bytes);
    Ok((scheme, digest.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")))
}

/// `GET /keypairs/{id}/privatekey`: once.
fn private_key<'a>(hooks: &'a KeypairHooks, op: &'a Op<'a>, row: Row, _body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let key = row.text("private_key").to_string();
        if key.is_empty() {
            return Err(err!(
                BadRequest,
                "the private key of {} is not here: it was fetched before, or its user never gave it",
                row.name()
            ));
        }
        let key = hooks.seal.open(&key)?;
        let row = &row;
        op.engine
            .db
            .tx(|tx| {
                work(async move {
                    let mut new = row.clone();
                    new.set("private_key", "");
                    new.set("taken_at", tx.now());
                    tx.save(row, &mut new).await?;
                    resource::audit(tx, op.ctx, &new, "fetch", String::new()).await
                })
            })
            .await?;
        Ok(Reply::Value(json!({ "private_key": key })))
    })
}

pub(crate) fn kind(seal: &Arc<Seal>) -> Kind {
    const TAKE: ActionFact =
        ActionFact { name: "privatekey", doc: "The private half of a pair made here; it can be fetched once.", inputs: &[] };
    Kind::new::<Keypair, _>(&shared(KeypairHooks { seal: seal.clone() })).naming(Naming::Owner).spec(TAKE, private_key).done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_pair_reads_back() {
        let (public, private) = ed25519("web 1").unwrap();
        assert_eq!(read(&public).unwrap().0, "ED25519");
        assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
        for bad in ["", "ssh-rsa", "ssh-rsa AAAA", "ssh-dss AAAAB3NzaC1kc3M=", "hello world"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
