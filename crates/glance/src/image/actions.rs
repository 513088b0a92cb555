//! Actions and properties of images (spec 21 §10.3). Sharing, ownership, tags and the way back from the bin are the engine's.

use super::{ImageHooks, input};
use crate::rows;
use api_image::Status;
use base::{Kind as Cell, Result, Row, err};
use resource::{ActionFact, BoxFuture, Input, Map, Op, Reply, flag, required, text};
use store::work;

pub const MARK_STANDARD: ActionFact = ActionFact {
    name: "mark-standard",
    doc: "Make it one of the platform's standard images, visible to all, or end that.",
    inputs: &[Input { name: "is_standard", kind: Cell::Bool, required: true, doc: "Whether it is one." }],
};
pub const PROBE: ActionFact = ActionFact { name: "probe", doc: "Read the file's header and digests again.", inputs: &[] };
pub const UPDATE_STATUS: ActionFact = ActionFact {
    name: "update-status",
    doc: "Give an image up: for whoever was to deliver its bytes and cannot.",
    inputs: &[
        Input { name: "status", kind: Cell::Text, required: true, doc: "One of killed, deactivated, deleted, pending_delete." },
        Input { name: "reason", kind: Cell::Text, required: false, doc: "Why; kept in the events." },
    ],
};
pub const SUBFORMATS: ActionFact = ActionFact { name: "subformats", doc: "The formats the image can be downloaded in.", inputs: &[] };

pub fn mark_standard<'a>(_: &'a ImageHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let standard = flag(&body, "is_standard")?.unwrap_or(true);
        if row.flag("is_guest_image") {
            return Err(err!(InvalidStatus, "image {} belongs to a guest image and cannot be a standard image", row.name()));
        }
        change(op, &row, "mark_standard", |new| input::standardise(new, standard)).await?;
        Ok(Reply::Object)
    })
}

pub fn probe<'a>(_: &'a ImageHooks, op: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let from = [Status::Active, Status::Saved];
        let moved = rows::transition(&op.engine.db, op.ctx, row.id(), &from, Status::Probing, "", |_| {}).await?;
        moved.ok_or_else(|| not_in(&row, "active or saved"))?;
        Ok(Reply::Object)
    })
}

pub fn update_status<'a>(_: &'a ImageHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let word = required(&body, "status")?;
        let to = Status::parse(&word)
            .filter(|s| s.dead())
            .ok_or_else(|| err!(InputParameter, "the status {} cannot be set; use killed, deactivated, deleted or pending_delete", word))?;
        let reason = text(&body, &["reason"]).unwrap_or_default();
        // Deletion has its own road, with its own rights and the recycle bin: these two words are taken for giving up.
        let to = if matches!(to, Status::Deleted | Status::PendingDelete) { Status::Deactivated } else { to };
        let moved = rows::transition(&op.engine.db, op.ctx, row.id(), Status::ALL, to, &reason, |new| {
            if to == Status::Killed {
                new.set("disable_delete", false);
            }
        });
        moved.await?.ok_or_else(|| not_in(&row, "existing"))?;
        Ok(Reply::Object)
    })
}

pub fn subformats<'a>(_: &'a ImageHooks, op: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move { Ok(Reply::Value(super::subformats(op, &row).await?)) })
}

fn not_in(row: &Row, wanted: &str) -> base::Error {
    err!(InvalidStatus, "image {} is {}, it must be {}", row.name(), row.text("status"), wanted)
}

/// A change with its event and its line in the feed.
async fn change(op: &Op<'_>, row: &Row, word: &'static str, change: impl Fn(&mut Row) + Send + Sync) -> Result<()> {
    let change = &change;
    op.engine
        .db
        .tx(|tx| {
            work(async move {
                let mut new = row.clone();
                change(&mut new);
                tx.save(row, &mut new).await?;
                resource::audit(tx, op.ctx, &new, word, String::new()).await?;
                tx.emit(resource::changed(&new)).await
            })
        })
        .await
}
