//! Query strings, and what a list makes of them: SQL whose text no client writes.

use api_identity::{Project, User};
use base::Scope;
use http::query::{Query, encode_json};
use resource::{Kind, Params, asked_for};
use std::sync::LazyLock;
use store::{Dialect, Select, sql};

static KINDS: LazyLock<[Kind; 2]> = LazyLock::new(|| [Kind::plain::<User>(), Kind::plain::<Project>()]);

pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(query) = Query::parse(text) else { return };
    let size = query.json().to_string().len();
    assert!(size <= text.len() * 8 + 64, "{} bytes grew to {size}", text.len());
    for key in ["filter", "limit", "details", "scope"] {
        let (first, all) = (query.text(key), query.all(key));
        assert!(first.is_none_or(|t| all.contains(&t)) && (!query.has(key) || !query.is_empty()));
        let _ = (query.flag(key), query.int(key));
    }
    // What is written of it is read alike, unless an index that stands for an order made an array of it.
    let written = Query::parse(&encode_json(query.json()));
    if let Ok(again) = &written {
        assert_eq!(Query::parse(&encode_json(again.json())).ok().as_ref().map(Query::json), Some(again.json()), "not stable");
    }
    let params = Params(query.json().clone());
    for kind in &*KINDS {
        for scope in [Scope::Project, Scope::System] {
            let cond = asked_for(kind, &params, scope);
            for dialect in [Dialect::Sqlite, Dialect::Postgres] {
                let select = Select::from(kind.facts.plural).column("id", base::Kind::Text).filter(cond.clone());
                // What the database would not take is refused before it.
                let Ok(made) = sql::select(dialect, &select, sql::Wish::default()) else { continue };
                check(&made, dialect, kind);
            }
        }
    }
}

/// Every value is bound, every name is one of ours.
fn check(made: &sql::Sql, dialect: Dialect, kind: &Kind) {
    let (place, quote) = if dialect == Dialect::Sqlite { ('?', '`') } else { ('$', '"') };
    let places = made.text.chars().filter(|c| *c == place).count();
    assert_eq!(places, made.args.len(), "{}", made.text);
    let mut parts = made.text.split(quote);
    let mut strings = 0;
    let mut outside = true;
    while let Some(part) = parts.next() {
        if outside {
            let plain = |c: char| c.is_ascii_alphanumeric() || " ()?$=<>,.:[]\\'_%*!|".contains(c);
            assert!(part.chars().all(plain), "in {}", made.text);
            strings += part.matches('\'').count();
        } else {
            let ours = kind.facts.has(part) || [kind.facts.plural, "metadata", "obj_id", "obj_type", "key", "value"].contains(&part);
            assert!(ours, "the name {part} in {}", made.text);
        }
        outside = !outside;
    }
    assert!(!outside && strings % 2 == 0, "{}", made.text);
}
