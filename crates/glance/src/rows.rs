//! Changes of image rows that no request body asks for: state transitions.

use api_image::{Image, Status};
use base::{Ctx, Resource, Result, Row};
use store::{Change, ChangeOp, Db, Read, work};

/// A row that is not deleted for good.
pub async fn alive(db: &Db, id: &str) -> Result<Option<Row>> {
    let mut db = db;
    Ok(db.one(Image::facts(), id).await?.filter(|row| !row.flag("deleted")))
}

pub fn state(row: &Row) -> Option<Status> {
    Status::parse(row.text("status"))
}

/// Moves an image from one of some states to another and applies further changes, in one transaction with its event and its line in the
/// feed. `None`: the row is gone or in no such state, and nothing was done; whoever was faster decides.
pub async fn transition(
    db: &Db,
    ctx: &Ctx,
    id: &str,
    from: &[Status],
    to: Status,
    reason: &str,
    change: impl Fn(&mut Row) + Send + Sync,
) -> Result<Option<Row>> {
    let change = &change;
    db.tx(|tx| {
        work(async move {
            let Some(old) = tx.one(Image::facts(), id).await? else { return Ok(None) };
            if old.flag("deleted") || !state(&old).is_some_and(|s| from.contains(&s)) {
                return Ok(None);
            }
            let mut new = old.clone();
            new.set("status", to);
            new.set("progress", 0);
            change(&mut new);
            let gone = to == Status::Deleted;
            if gone {
                new.set("deleted", true);
                new.set("deleted_at", tx.now());
            }
            tx.save(&old, &mut new).await?;
            let notes = format!("{}=>{to} {reason}", old.text("status"));
            resource::audit(tx, ctx, &new, if gone { "delete" } else { "updatestatus" }, notes).await?;
            let line = resource::changed(&new);
            tx.emit(if gone { Change { op: ChangeOp::Delete, ..line } } else { line }).await?;
            Ok(Some(new))
        })
    })
    .await
}
