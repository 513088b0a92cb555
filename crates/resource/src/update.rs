//! Changing a row: only the keys the body has, only if nobody changed it meanwhile.

use crate::{Answer, body, create, engine::Op, event, names, show, tags};
use base::{Class, Flags, Json, Result, Row, err};
use store::{ChangeOp, work};

pub(crate) const TRIES: usize = 5;

pub(crate) async fn update(op: &Op<'_>, which: &str, body: Option<Json>) -> Result<Answer> {
    let map = body::unwrap_loose(op.kind.facts, body)?;
    for extra in op.kind.extras.iter().filter(|e| e.update) {
        crate::dispatch::check(std::iter::once(&crate::Input { required: false, ..extra.input }), &map)?;
    }
    for attempt in 1.. {
        let old = show::find(op, which).await?;
        op.engine.demand(op.ctx, op.kind, &old, "update", &[]).await?;
        thawed(&old)?;
        let mut map = map.clone();
        let mut new = old.clone();
        if let Some(name) = body::text(&map, &["name"]).filter(|_| op.kind.facts.field("name").is_some_and(|f| f.flags.has(Flags::UPDATE)))
        {
            names::check_name(&name)?;
        }
        op.kind.hooks.read(&mut map)?;
        create::read_fields(op, &map, &mut new, Flags::UPDATE).await?;
        op.kind.hooks.update(op, &old, &mut map, &mut new).await?;
        match save(op, &old, new, &map).await {
            // Somebody else was faster: look again and apply the same keys to what is there now.
            Err(e) if e.class() == Class::ResourceBusy && attempt < TRIES => continue,
            Err(e) => return Err(e),
            Ok(row) => return show::answer(op, row).await,
        }
    }
    unreachable!("the loop returns by its last attempt")
}

async fn save(op: &Op<'_>, old: &Row, new: Row, map: &body::Map) -> Result<Row> {
    let pairs = match map.get("__meta__") {
        Some(Json::Object(meta)) => tags::parse(meta, "")?,
        _ => Vec::new(),
    };
    let (new, pairs) = (&new, &pairs);
    op.engine
        .db
        .tx(|tx| {
            work(async move {
                let mut row = new.clone();
                if row.name() != old.name() {
                    names::demand_free(tx, op.kind, &row).await?;
                }
                op.kind.hooks.updated(op, tx, old, &mut row).await?;
                tags::write(tx, &row, pairs, None).await?;
                if row.values == old.values {
                    return Ok(row);
                }
                tx.save(old, &mut row).await?;
                event::audit(tx, op.ctx, &row, "update", event::diff(old, &row)).await?;
                tx.emit(create::change(&row, ChangeOp::Update)).await?;
                Ok(row)
            })
        })
        .await
}

/// A frozen row refuses everything but to be unfrozen.
pub(crate) fn thawed(row: &Row) -> Result<()> {
    if row.flag("freezed") {
        return Err(err!(BadRequest, "{} {} is frozen; unfreeze it first", row.facts.name, row.name()));
    }
    Ok(())
}
