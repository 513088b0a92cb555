//! One row, whole.

use crate::{Answer, Page, engine::Op, view, view::Answers};
use base::{Result, Row, Scope};

/// The row behind an id or name, if the caller may see it.
pub(crate) async fn find(op: &Op<'_>, which: &str) -> Result<Row> {
    let rights = op.engine.rights(op.ctx, op.kind, "get", &[]);
    if rights.widest() == Scope::None {
        return Err(op.engine.denied(op.ctx, op.kind, "get", &[], Scope::User));
    }
    op.engine.lookup(op.ctx, op.kind, which, op.engine.seen(op.ctx, op.kind, &rights)).await
}

/// The whole answer to a show by id or name: row and what goes with it are asked for at once where the row is named by its id.
pub(crate) async fn show(op: &Op<'_>, which: &str) -> Result<Answer> {
    if base::is_id(which) {
        let rights = op.engine.rights(op.ctx, op.kind, "get", &[]);
        let seen = op.engine.seen(op.ctx, op.kind, &rights);
        let asks = view::asks(op.kind, &[which], details(op));
        if rights.widest() > Scope::None
            && let Some((row, answers)) = op.engine.with(op.kind, which, seen, asks).await?
        {
            return answer_of(op, row, answers).await;
        }
    }
    answer(op, find(op, which).await?).await
}

/// `{"server": {..}}`
pub(crate) async fn answer(op: &Op<'_>, row: Row) -> Result<Answer> {
    answer_of(op, row, Vec::new()).await
}

async fn answer_of(op: &Op<'_>, row: Row, answers: Answers) -> Result<Answer> {
    let mut out = format!("{{\"{}\":", op.kind.facts.name).into_bytes();
    write(op, row, answers, &mut out).await?;
    out.push(b'}');
    Ok(Answer::bytes(out))
}

fn details(op: &Op<'_>) -> bool {
    op.params.flag("details").unwrap_or(true)
}

/// The object itself, with everything computed. `answers` to [`view::asks`], where they are there already.
pub(crate) async fn write(op: &Op<'_>, row: Row, answers: Answers, out: &mut Vec<u8>) -> Result<()> {
    let rights = op.engine.widest(op.ctx, op.kind, "get", &[]);
    let mut page = Page::new(vec![row], details(op), true, rights);
    page.answers = answers;
    view::standard(op, &mut page).await?;
    op.kind.hooks.view(op, &mut page).await?;
    let fields = op.params.all("field");
    let only = if fields.is_empty() { None } else { Some(&fields[..]) };
    view::write_rows(out, &page, only);
    Ok(())
}
