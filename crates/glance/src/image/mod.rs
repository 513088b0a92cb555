//! The image resource: what its rows do beyond the engine's own.

mod actions;
mod filter;
mod input;
mod view;

use crate::{Options, copies, quota};
use api_image::{Image, Status};
use base::{Error, Result, Row, err};
use diskimage::Format;
use resource::{BoxFuture, Deleted, Hooks, Kind, Map, Op, Page, Params, Removal};
use std::sync::Arc;
use std::time::Duration;
use store::{Change, ChangeOp, Cond, Tx};

/// Parameter by which the service's own upload route tells the create hook that bytes follow. Stripped from what clients send.
pub const UPLOAD: &str = "__upload";
/// The bytes come in the body of the creating request: the row goes when they break off.
pub const BY_BODY: &str = "body";
/// The bytes are fetched after the request was answered.
pub const BY_FETCH: &str = "fetch";

pub struct ImageHooks {
    keep_deleted: Duration,
    check_quota: bool,
    default_quota: i64,
}

pub fn kind(options: &Options) -> Kind {
    let hooks = ImageHooks { keep_deleted: options.keep_deleted, check_quota: options.check_quota, default_quota: options.default_quota };
    Kind::new::<Image, ImageHooks>(&Arc::new(hooks))
        .action(actions::MARK_STANDARD, actions::mark_standard)
        .action(actions::PROBE, actions::probe)
        .action(actions::UPDATE_STATUS, actions::update_status)
        .spec(actions::SUBFORMATS, actions::subformats)
        .done()
}

impl Hooks for ImageHooks {
    fn recycles(&self) -> bool {
        true
    }

    fn create<'a>(&'a self, op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let coming = op.params.text(UPLOAD);
            row.set("status", if coming.is_some() { Status::Saving } else { Status::Queued });
            row.set("progress", 0);
            row.set("upload_creates", coming.as_deref() == Some(BY_BODY));
            input::format(row)?;
            input::sizes(row)?;
            input::properties(row, body)?;
            input::arch(row);
            input::sharing(op, row, body)?;
            if !resource::text(body, &["encrypt_key_id"]).unwrap_or_default().is_empty() {
                return Err(err!(
                    UnsupportedOperation,
                    "images are not encrypted by this service; encrypt the file with qemu-img and upload it without encrypt_key_id"
                ));
            }
            Ok(())
        })
    }

    fn created<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, _body: &'a Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { if self.check_quota { quota::demand(tx, row, self.default_quota).await } else { Ok(()) } })
    }

    fn update<'a>(&'a self, op: &'a Op<'a>, old: &'a Row, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            input::sizes(row)?;
            input::properties(row, body)?;
            input::arch(row);
            input::sharing(op, row, body)?;
            if old.flag("is_guest_image") && old.text("name") != row.text("name") {
                return Err(err!(InvalidStatus, "image {} belongs to a guest image; rename that", old.name()));
            }
            Ok(())
        })
    }

    fn updated<'a>(&'a self, _op: &'a Op<'a>, _tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if old.flag("is_standard") && row.flag("is_standard") && sharing(old) != sharing(row) {
                return Err(err!(
                    Forbidden,
                    "image {} is a standard image and stays shared with all; end that with mark-standard first",
                    old.name()
                ));
            }
            if old.flag("is_guest_image") && sharing(old) != sharing(row) {
                return Err(err!(Forbidden, "image {} belongs to a guest image; share that", old.name()));
            }
            // Whoever could not deliver the bytes says so by this word; what is left must not need two steps to go.
            if row.text("status") == Status::Killed.name() && old.text("status") != row.text("status") {
                row.set("disable_delete", false);
            }
            Ok(())
        })
    }

    fn deletable<'a>(&'a self, _op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move { Ok(rows.iter().map(locked).collect()) })
    }

    fn delete<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row, how: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async move {
            // What never became an image is not worth a place in the bin.
            let empty = matches!(crate::rows::state(row), Some(Status::Queued | Status::Killed | Status::Saving))
                && row.text("checksum").is_empty();
            if how == Removal::Recycle && !empty {
                row.set("status", Status::PendingDelete);
                return Ok(Deleted::Now);
            }
            tx.delete("sub_images", Cond::eq("image_id", row.id())).await?;
            row.set("status", Status::Deleted);
            row.set("deleted", true);
            row.set("deleted_at", tx.now());
            if how == Removal::Recycle {
                // The engine believes it goes to the bin and says "updated"; followers of the feed must hear that it is gone.
                tx.emit(Change { op: ChangeOp::Delete, ..resource::changed(row) }).await?;
            }
            Ok(Deleted::Now)
        })
    }

    fn restored<'a>(&'a self, _op: &'a Op<'a>, _tx: &'a mut Tx, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            // One that was deleted before its checksum was ready is finished now.
            row.set("status", if row.text("checksum").is_empty() { Status::Saved } else { Status::Active });
            Ok(())
        })
    }

    fn filter<'a>(&'a self, _op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { filter::narrow(params, cond) })
    }

    fn view<'a>(&'a self, _op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            view::add(page, self.keep_deleted);
            Ok(())
        })
    }
}

/// Why an image cannot be deleted.
fn locked(row: &Row) -> Option<Error> {
    if row.flag("disable_delete") {
        return Some(err!(ProtectedResource, "image {} is protected against deletion; set protected to false first", row.name()));
    }
    if row.flag("is_standard") {
        return Some(err!(ProtectedResource, "image {} is a standard image; end that with mark-standard first", row.name()));
    }
    if row.flag("is_guest_image") {
        return Some(err!(ProtectedResource, "image {} belongs to a guest image; delete that", row.name()));
    }
    None
}

fn sharing(row: &Row) -> (bool, &str) {
    (row.flag("is_public"), row.text("public_scope"))
}

/// The image's copies, for the wire.
pub async fn subformats(op: &Op<'_>, row: &Row) -> Result<base::Json> {
    Ok(copies::listing(row, &copies::all(&op.engine.db, row.id()).await?))
}

/// The format an image has, once that is known.
pub fn format(row: &Row) -> Option<Format> {
    Format::parse(row.text("disk_format"))
}
