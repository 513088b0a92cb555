//! One row, whole.

use crate::{Answer, Page, crowd::Key, engine::Op, view, view::Answers};
use base::{Result, Row, Scope};
use std::collections::HashMap;

/// The row behind an id or name, if the caller may see it.
pub(crate) async fn find(op: &Op<'_>, which: &str) -> Result<Row> {
    let rights = op.engine.rights(op.ctx, op.kind, "get", &[]);
    if rights.widest() == Scope::None {
        return Err(op.engine.denied(op.ctx, op.kind, "get", &[], Scope::User));
    }
    op.engine.lookup(op.ctx, op.kind, which, op.engine.seen(op.ctx, op.kind, &rights)).await
}

/// The whole answer to a show by id or name. Those by id are answered as a page of all that the caller asks for at the same moment; rows and what goes
/// with them are one question.
pub(crate) async fn show(op: &Op<'_>, which: &str) -> Result<Answer> {
    if base::is_id(which) {
        let told = match Key::of(op) {
            Some(key) => op.engine.crowd.about(key, which, |ids| Box::pin(page(op, ids))).await?,
            None => page(op, vec![which.to_string()]).await?.remove(which),
        };
        if let Some(bytes) = told {
            return Ok(Answer::bytes(bytes));
        }
    }
    answer(op, find(op, which).await?).await
}

/// The answer about each of these that exists and may be seen.
async fn page(op: &Op<'_>, ids: Vec<String>) -> Result<HashMap<String, Vec<u8>>> {
    let rights = op.engine.rights(op.ctx, op.kind, "get", &[]);
    if rights.widest() == Scope::None {
        return Ok(HashMap::new());
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let seen = op.engine.seen(op.ctx, op.kind, &rights);
    let (rows, answers) = op.engine.with(op.kind, &ids, seen, view::asks(op.kind, &ids, details(op))).await?;
    let page = filled(op, rows, answers).await?;
    let written = view::apart(&page, fields(op).as_deref(), &head(op), b"}");
    Ok(page.rows.iter().map(|row| row.id().to_string()).zip(written).collect())
}

/// `{"server": {..}}`
pub(crate) async fn answer(op: &Op<'_>, row: Row) -> Result<Answer> {
    let mut out = head(op);
    write(op, row, &mut out).await?;
    out.push(b'}');
    Ok(Answer::bytes(out))
}

/// The object itself, with everything computed.
pub(crate) async fn write(op: &Op<'_>, row: Row, out: &mut Vec<u8>) -> Result<()> {
    let page = filled(op, vec![row], Vec::new()).await?;
    view::write_rows(out, &page, fields(op).as_deref());
    Ok(())
}

/// `answers` to [`view::asks`], where they are there already.
async fn filled(op: &Op<'_>, rows: Vec<Row>, answers: Answers) -> Result<Page> {
    let mut page = Page::new(rows, details(op), true, op.engine.widest(op.ctx, op.kind, "get", &[]));
    page.answers = answers;
    view::standard(op, &mut page).await?;
    op.kind.hooks.view(op, &mut page).await?;
    Ok(page)
}

fn head(op: &Op<'_>) -> Vec<u8> {
    format!("{{\"{}\":", op.kind.facts.name).into_bytes()
}

fn details(op: &Op<'_>) -> bool {
    op.params.flag("details").unwrap_or(true)
}

/// The keys that are wanted; all without.
fn fields(op: &Op<'_>) -> Option<Vec<String>> {
    Some(op.params.all("field")).filter(|fields| !fields.is_empty())
}
