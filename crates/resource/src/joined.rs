//! `joint_filter=<table>.<key>(<origin key>).<field>.<op>(<args>)`: rows that have a matching row of another kind (spec 01 §3.2).
//!
//! The other rows are only those the caller may list: a filter must not tell what a list would not.

use crate::{Kind, Params, engine::Op, filter};
use base::{Result, Scope};
use store::{Cond, Select};

/// What all `joint_filter` parameters say together. A text that is none, or names what is not there, is passed over as with `filter`.
pub(crate) fn from_params(op: &Op<'_>) -> Result<Cond> {
    let mut all = Cond::True;
    for text in op.params.all("joint_filter") {
        let Some((table, key, origin, rest)) = parse(&text) else { continue };
        let Some(other) = kind_of(op, table) else { continue };
        let rights = op.engine.list_rights(op.ctx, other, &Params::default())?;
        let here = op.engine.widest(op.ctx, op.kind, "list", &[]);
        let there = op.engine.widest(op.ctx, other, "list", &[]);
        let (Some(origin), Some(key)) = (field(op.kind, origin, here), field(other, key, there)) else { continue };
        let Some(matching) = filter::one(other, rest, there) else { continue };
        let rows = op.engine.seen(op.ctx, other, &rights).and(crate::engine::alive(other.facts)).and(matching);
        all = all.and(Cond::in_select(origin.name, Select::from(other.facts.table).column(key.name, key.kind).filter(rows)));
    }
    Ok(all)
}

fn field<'a>(kind: &'a Kind, name: &str, scope: Scope) -> Option<&'a base::Field> {
    kind.facts.field(name).filter(|f| filter::usable(f, scope))
}

/// By plural, singular or table, with the endings existing clients write: `guestnetworks_tbl`, `guestnetwork`.
fn kind_of<'a>(op: &'a Op<'_>, table: &str) -> Option<&'a Kind> {
    let table = table.strip_suffix("_tbl").unwrap_or(table);
    op.engine.kinds().iter().find(|k| [k.facts.plural, k.facts.name, k.facts.table].contains(&table))
}

fn parse(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (head, rest) = text.split_once(").")?;
    let (path, origin) = head.split_once('(')?;
    let (table, key) = path.split_once('.')?;
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    [table, key, origin].into_iter().all(word).then_some((table, key, origin, rest))
}

#[cfg(test)]
mod tests {
    #[test]
    fn grammar() {
        let check = |text, want| assert_eq!(super::parse(text), want, "{text}");
        check("guestnetworks.guest_id(id).ip_addr.equals(10.0.0.1)", Some(("guestnetworks", "guest_id", "id", "ip_addr.equals(10.0.0.1)")));
        check("a.b(c).d.in((x).y)", Some(("a", "b", "c", "d.in((x).y)")));
        check("a.b.c.d(x)", None);
        check("a(id).d.in(x)", None);
        check("a b.c(id).d.in(x)", None);
    }
}
