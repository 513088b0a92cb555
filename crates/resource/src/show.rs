//! One row, whole.

use crate::{Answer, Page, engine::Op, view};
use base::{Result, Row, Scope};

/// The row behind an id or name, if the caller may see it.
pub(crate) async fn find(op: &Op<'_>, which: &str) -> Result<Row> {
    let rights = op.engine.rights(op.ctx, op.kind, "get", &[]);
    if rights.widest() == Scope::None {
        return Err(op.engine.denied(op.ctx, op.kind, "get", &[], Scope::User));
    }
    op.engine.lookup(op.ctx, op.kind, which, op.engine.seen(op.ctx, op.kind, &rights)).await
}

/// `{"server": {..}}`
pub(crate) async fn answer(op: &Op<'_>, row: Row) -> Result<Answer> {
    let mut out = format!("{{\"{}\":", op.kind.facts.name).into_bytes();
    write(op, row, &mut out).await?;
    out.push(b'}');
    Ok(Answer::bytes(out))
}

/// The object itself, with everything computed.
pub(crate) async fn write(op: &Op<'_>, row: Row, out: &mut Vec<u8>) -> Result<()> {
    let details = op.params.flag("details").unwrap_or(true);
    let rights = op.engine.widest(op.ctx, op.kind, "get", &[]);
    let mut page = Page::new(vec![row], details, true, rights);
    view::standard(op, &mut page).await?;
    op.kind.hooks.view(op, &mut page).await?;
    let fields = op.params.all("field");
    let only = if fields.is_empty() { None } else { Some(&fields[..]) };
    view::write_rows(out, &page, only);
    Ok(())
}
