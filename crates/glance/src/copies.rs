//! Copies of images in other formats: their rows, and what of them the wire shows (`subformats`).

use crate::convert::{self, Copy};
use crate::files::Files;
use api_image::SubImage;
use base::{Error, Json, Resource, Result, Row, new_id};
use diskimage::Format;
use resource::{Kind, Naming, NoHooks};
use serde_json::json;
use std::sync::Arc;
use store::{Cond, Db, Read, work};

pub const ACTIVE: &str = "active";
const CONVERTING: &str = "converting";
const FAILED: &str = "save_fail";

pub fn kind() -> Kind {
    Kind::new::<SubImage, NoHooks>(&Arc::new(NoHooks)).naming(Naming::Free).parent("image", "image_id").read_only().done()
}

fn of(id: &str, format: Format) -> Cond {
    Cond::eq("image_id", id).and(Cond::eq("format", format.name()))
}

/// The copy in a format, whatever its state.
pub async fn find(db: &Db, id: &str, format: Format) -> Result<Option<Row>> {
    let mut db = db;
    Ok(db.find(SubImage::facts(), of(id, format)).await?.pop())
}

pub async fn all(db: &Db, id: &str) -> Result<Vec<Row>> {
    let mut db = db;
    let mut rows = db.find(SubImage::facts(), Cond::eq("image_id", id)).await?;
    rows.sort_by(|a, b| a.text("format").cmp(b.text("format")));
    Ok(rows)
}

/// Whether the copy is there and whole.
pub async fn ready(db: &Db, files: &Files, id: &str, format: Format) -> Result<bool> {
    let row = find(db, id, format).await?;
    let Some(row) = row.filter(|r| r.text("status") == ACTIVE) else { return Ok(false) };
    Ok(files.size(&convert::name(id, format))? == u64::try_from(row.int("size")).ok())
}

/// Says that the copy is being made.
pub async fn begin(db: &Db, id: &str, format: Format) -> Result<()> {
    change(db, id, format, |row| {
        row.set("status", CONVERTING);
        row.set("reason", "");
    })
    .await
}

/// Says what came of it.
pub async fn end(db: &Db, id: &str, format: Format, outcome: Result<&Copy, &Error>) -> Result<()> {
    change(db, id, format, |row| match outcome {
        Ok(copy) => {
            row.set("status", ACTIVE);
            row.set("size", i64::try_from(copy.size).unwrap_or(i64::MAX));
            row.set("checksum", copy.digests.md5.as_str());
            row.set("fast_hash", copy.digests.fast_hash.as_str());
        }
        Err(e) => {
            row.set("status", FAILED);
            row.set("reason", e.to_string());
        }
    })
    .await
}

async fn change(db: &Db, id: &str, format: Format, change: impl Fn(&mut Row) + Send + Sync) -> Result<()> {
    let change = &change;
    db.tx(|tx| {
        work(async move {
            let found = tx.find(SubImage::facts(), of(id, format)).await?.pop();
            let mut row = found.clone().unwrap_or_else(Row::new::<SubImage>);
            change(&mut row);
            match found {
                Some(old) => tx.save(&old, &mut row).await,
                None => {
                    row.set("id", new_id());
                    row.set("image_id", id);
                    row.set("format", format.name());
                    row.set("created_at", tx.now());
                    row.set("updated_at", tx.now());
                    tx.insert(&row).await
                }
            }
        })
    })
    .await
}

/// `GET /images/{id}/subformats`: the image itself first, then its copies.
pub fn listing(image: &Row, copies: &[Row]) -> Json {
    let one = |format: &str, row: &Row, location: String| {
        json!({
            "format": format, "size": row.int("size"), "checksum": row.text("checksum"), "fast_hash": row.text("fast_hash"),
            "status": row.text("status"), "location": location, "torrent_size": 0, "torrent_checksum": "", "torrent_location": "",
            "torrent_status": "", "torrent_seeding": false,
        })
    };
    let id = image.id();
    let mut out = vec![one(image.text("disk_format"), image, format!("file://{id}"))];
    out.extend(copies.iter().map(|c| one(c.text("format"), c, format!("file://{id}.{}", c.text("format")))));
    Json::Array(out)
}
