//! Images are sent and fetched as they are read, never held in memory.

use crate::{
    body,
    catalog::{Field, Service},
    fail::{Fail, Result},
    generate::{fielded, id, leaf},
    output,
    session::{Session, segment},
    wait::{self, Line},
};
use clap::{Arg, ArgAction, ArgMatches, Command};
use futures_util::{StreamExt, stream};
use http::{Bytes, Method};
use serde_json::{Value as Json, json};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PIECE: usize = 1 << 20;

pub fn create_command(fields: &[Field]) -> Command {
    let command = leaf("create", "Make an image; with a file its bytes are sent too.")
        .arg(Arg::new("f:name").value_name("NAME").required(true).help("Name"))
        .arg(Arg::new("file").long("file").value_name("FILE").help("File to send"))
        .arg(
            Arg::new("no-wait")
                .long("no-wait")
                .action(ArgAction::SetTrue)
                .help("Return when it is sent; left out: when servers can be made of it"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .help("Disk format: qcow2, raw, iso, vmdk, vhd; left out: seen in the bytes"),
        );
    let rest: Vec<Field> = fields.iter().filter(|f| f.name != "name").cloned().collect();
    fielded(command, &rest, false)
}

pub fn download_command() -> Command {
    leaf("download", "Fetch an image's bytes.")
        .arg(id(false))
        .arg(Arg::new("file").long("file").value_name("FILE").required(true).help("File to write; - writes to stdout"))
}

pub async fn create(matches: &ArgMatches) -> Result<()> {
    let known = crate::catalog::resource("image").and_then(|r| r.create.as_deref()).unwrap_or_default();
    let mut image = body::fields(known, matches)?;
    if let Some(format) = body::text(matches, "format") {
        image.insert("disk_format".into(), Json::from(format));
    }
    let session = Session::open(matches).await?;
    let Some(path) = body::text(matches, "file") else {
        let answer = session.post(Service::Image, "/images", &json!({ "image": image })).await?;
        return output::one(matches, &answer["image"]);
    };
    let file = tokio::fs::File::open(path).await.map_err(|e| Fail::file(path, &e))?;
    let meta = file.metadata().await.map_err(|e| Fail::file(path, &e))?;
    if !meta.is_file() {
        return Err(Fail::usage(format!("{path} is not a file")));
    }
    let (size, sent) = (meta.len(), Arc::new(AtomicU64::new(0)));
    let counter = sent.clone();
    let pieces = stream::unfold(Some(file), move |file| {
        let counter = counter.clone();
        async move {
            let mut file = file?;
            let mut piece = Vec::with_capacity(PIECE);
            match (&mut file).take(PIECE as u64).read_to_end(&mut piece).await {
                Ok(0) => None,
                Ok(n) => {
                    counter.fetch_add(n as u64, Relaxed);
                    Some((Ok(Bytes::from(piece)), Some(file)))
                }
                Err(e) => Some((Err(base::Error::internal(e)), None)),
            }
        }
    });
    let mut call = session.call(Service::Image, Method::POST, "/images")?.header("content-type", "application/octet-stream");
    for (key, value) in &image {
        call = meta_header(call, key, value);
    }
    let send = session.json(call.stream(pieces, Some(size)));
    let answer = shown(&format!("sending {path}"), size, &sent, send).await?;
    let mut image = answer["image"].clone();
    if !body::flag(matches, "no-wait") {
        let id = image["id"].as_str().unwrap_or_default().to_string();
        image = usable(&session, &id).await?;
    }
    output::one(matches, &image)
}

/// How long an image may stand still on its way before it is no longer waited for.
const STILL: Duration = Duration::from_secs(900);

/// Waits until servers can be made of an image: after the upload it is looked at, and copied when that is asked for.
async fn usable(session: &Session, id: &str) -> Result<Json> {
    let mut line = Line::new();
    let (mut seen, mut since) = (String::new(), Instant::now());
    loop {
        let image = fetch(session, id).await?;
        let status = image["status"].as_str().unwrap_or_default();
        if seen != status {
            (seen, since) = (status.to_string(), Instant::now());
        }
        match wait::settled(status, &["active"]) {
            Some(true) => return Ok(image),
            Some(false) => return Err(Fail::usage(format!("image {id} is {status}; look at it with `wolke image show {id}`"))),
            None if matches!(status, "killed" | "queued" | "deleted" | "pending_delete") => {
                return Err(Fail::usage(format!("image {id} is {status}; send it again")));
            }
            None if since.elapsed() > STILL => {
                return Err(Fail::usage(format!(
                    "image {id} is still {status} after {} s; it goes on without us: wolke image show {id}",
                    STILL.as_secs()
                )));
            }
            None => line.say(&format!("image {status}"), ""),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// `X-Image-Meta-<Field>`, and `X-Image-Meta-Property-<Key>` for members of `properties`. Values are percent-encoded: a header carries no
/// other than visible ASCII.
fn meta_header(mut call: http::Call, key: &str, value: &Json) -> http::Call {
    if let (Json::Object(members), true) = (value, key == "properties") {
        for (name, value) in members {
            call = call.header(&format!("x-image-meta-property-{name}"), &escape(&plain(value)));
        }
        return call;
    }
    call.header(&format!("x-image-meta-{key}"), &escape(&plain(value)))
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn escape(text: &str) -> String {
    http::path::encode(text)
}

/// Runs a transfer and shows how far it is.
async fn shown<T>(what: &str, size: u64, done: &AtomicU64, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut line = Line::new();
    let mut tick = tokio::time::interval(Duration::from_millis(300));
    tokio::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => {
                line.end();
                return outcome;
            }
            _ = tick.tick() => {
                let done = done.load(Relaxed);
                let percent = if size == 0 { String::new() } else { format!(", {} %", done.saturating_mul(100) / size) };
                line.say(what, &format!(": {} MiB{percent}", done >> 20));
            }
        }
    }
}

/// One image. `GET` of an image is its bytes; what describes it is asked for by `HEAD`, and read from the list, where nothing has to pass
/// through headers.
pub async fn fetch(session: &Session, which: &str) -> Result<Json> {
    let head = session.send(session.call(Service::Image, Method::HEAD, &format!("/images/{}", segment(which)))?).await;
    // An answer to HEAD has no body that could say more.
    let head = head.map_err(|fail| {
        if fail.is_missing() { Fail::usage(format!("image {which} not found; `wolke image list` shows those there are")) } else { fail }
    })?;
    let id = head.header("x-image-meta-id").unwrap_or(which).to_string();
    let query =
        [("id", id.as_str()), ("scope", "max"), ("pending_delete", "all"), ("limit", "1")].map(|(k, v)| (k.to_string(), v.to_string()));
    let mut answer = session.get(Service::Image, "/images", &query).await?;
    match answer["images"].get_mut(0) {
        Some(image) => Ok(image.take()),
        None => Err(Fail::usage(format!("image {which} not found; it has just been deleted"))),
    }
}

pub async fn show(matches: &ArgMatches) -> Result<()> {
    let session = Session::open(matches).await?;
    output::one(matches, &fetch(&session, body::text(matches, "id").unwrap_or_default()).await?)
}

pub async fn download(matches: &ArgMatches) -> Result<()> {
    let which = body::text(matches, "id").unwrap_or_default();
    let path = body::text(matches, "file").unwrap_or_default();
    let session = Session::open(matches).await?;
    let answer = session.send(session.call(Service::Image, Method::GET, &format!("/images/{}", segment(which)))?).await?;
    let size = answer.length().unwrap_or(0);
    let mut pieces = answer.stream();
    if path == "-" {
        use std::io::Write;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|e| Fail::refused(&e, 0, ""))?;
            std::io::stdout().lock().write_all(&piece).map_err(|e| Fail::file("stdout", &e))?;
        }
        return Ok(());
    }
    // Whole or not at all: a broken transfer leaves no file that looks like an image.
    let part = format!("{path}.part");
    let done = AtomicU64::new(0);
    let fetch = async {
        let mut file = tokio::fs::File::create(&part).await.map_err(|e| Fail::file(&part, &e))?;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|e| Fail::refused(&e, 0, ""))?;
            file.write_all(&piece).await.map_err(|e| Fail::file(&part, &e))?;
            done.fetch_add(piece.len() as u64, Relaxed);
        }
        file.sync_all().await.map_err(|e| Fail::file(&part, &e))?;
        let got = done.load(Relaxed);
        if size > 0 && got != size {
            return Err(Fail::usage(format!("the transfer broke off after {got} of {size} bytes; try again")));
        }
        tokio::fs::rename(&part, path).await.map_err(|e| Fail::file(path, &e))
    };
    let outcome = shown(&format!("fetching {which}"), size, &done, fetch).await;
    if outcome.is_err() {
        let _gone = std::fs::remove_file(&part);
    }
    outcome
}
