//! Letting rows go: into the recycle bin first, for good after that (spec 01 §6.2).

use crate::{Answer, Deleted, Removal, create, dispatch, engine::Op, event, kind::Tying, show, update};
use base::{Class, Result, Row, Scope, err};
use store::{ChangeOp, Tx, work};

pub(crate) async fn delete(op: &Op<'_>, which: &str) -> Result<Answer> {
    let kind = op.kind;
    if !kind.deletable {
        return Err(err!(UnsupportedOperation, "{} are not deleted by request", kind.facts.plural));
    }
    for attempt in 1.. {
        let row = show::find(op, which).await?;
        op.engine.demand(op.ctx, kind, &row, "delete", &[]).await?;
        update::thawed(&row)?;
        if let Some(joint) = &kind.joint
            && let Tying::Actions(actions) = &joint.tying
        {
            return dispatch::untie(op, &row, joint.master, actions).await;
        }
        let how = removal(op, &row)?;
        if how != Removal::Purge
            && let Some(refusal) = kind.hooks.deletable(op, std::slice::from_ref(&row)).await?.pop().flatten()
        {
            return Err(refusal);
        }
        let row = &row;
        match op.engine.db.tx(|tx| work(remove(op, tx, row, how))).await {
            // A host reported something meanwhile: look again whether it may go as it is now.
            Err(e) if e.class() == Class::ResourceBusy && attempt < update::TRIES => continue,
            gone => return show::answer(op, gone?).await,
        }
    }
    unreachable!("the loop returns by its last attempt")
}

impl crate::Engine {
    /// Deletes a row for good in the platform's own name; for background work that clears up.
    pub async fn remove(&self, ctx: &base::Ctx, kind: &crate::Kind, id: &str) -> Result<()> {
        let params = crate::Params::default();
        let op = Op { ctx, engine: self, kind, params: &params };
        let row = self.lookup(ctx, kind, id, store::Cond::True).await?;
        let row = &row;
        self.db.tx(|tx| work(remove(&op, tx, row, Removal::Final))).await.map(drop)
    }
}

fn removal(op: &Op<'_>, row: &Row) -> Result<Removal> {
    let on = |key| op.params.flag(key) == Some(true);
    let system = |extra: &str| op.engine.widest(op.ctx, op.kind, "delete", &[extra]) >= Scope::System;
    if on("purge") {
        if !system("purge") {
            return Err(op.engine.denied(op.ctx, op.kind, "delete", &["purge"], Scope::System));
        }
        return Ok(Removal::Purge);
    }
    let bin = op.kind.hooks.recycles() && op.engine.options.recycle;
    if !bin || row.flag("pending_deleted") {
        return Ok(Removal::Final);
    }
    if on("override_pending_delete") {
        if !system("override_pending_delete") {
            return Err(op.engine.denied(op.ctx, op.kind, "delete", &["override_pending_delete"], Scope::System));
        }
        return Ok(Removal::Final);
    }
    Ok(Removal::Recycle)
}

async fn remove(op: &Op<'_>, tx: &mut Tx, old: &Row, how: Removal) -> Result<Row> {
    let mut row = old.clone();
    let outcome = op.kind.hooks.delete(op, tx, &mut row, how).await?;
    let (word, change) = match (outcome, how) {
        (Deleted::Later, _) => ("start_delete", ChangeOp::Update),
        (Deleted::Now, Removal::Recycle) => {
            row.set("pending_deleted", true);
            row.set("pending_deleted_at", tx.now());
            ("pending_delete", ChangeOp::Update)
        }
        (Deleted::Now, _) => {
            row.set("deleted", true);
            row.set("deleted_at", tx.now());
            ("delete", ChangeOp::Delete)
        }
    };
    if row.values != old.values {
        tx.save(old, &mut row).await?;
    }
    event::audit(tx, op.ctx, &row, word, String::new()).await?;
    tx.emit(create::change(&row, change)).await?;
    Ok(row)
}
