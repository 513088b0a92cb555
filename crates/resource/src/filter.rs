//! The filter grammar of lists: `filter=field.op(args)`, `search`, `@column=` and plain parameters (spec 01 §3.2).

use crate::{Kind, Params, tags};
use base::{Field, Flags, Json, Scope, Value};
use store::{Cond, Match, Op};

/// Fields a client may filter on at a scope.
pub(crate) fn usable(field: &Field, scope: Scope) -> bool {
    let needs = if field.flags.has(Flags::ADMIN) {
        Scope::System
    } else if field.flags.has(Flags::DOMAIN) {
        Scope::Domain
    } else {
        Scope::None
    };
    !field.flags.has(Flags::HIDDEN) && scope >= needs
}

/// What the parameters of a list ask for, as far as facts and tags say it: no right of the caller is in it. Whatever they hold, the answer is
/// a condition on columns the scope may filter on, with their texts as bound values.
pub fn asked_for(kind: &Kind, params: &Params, scope: Scope) -> Cond {
    from_params(kind, params, scope).and(tags::filter(kind, &params.0))
}

/// Everything the facts alone can say about which rows a list has.
pub(crate) fn from_params(kind: &Kind, params: &Params, scope: Scope) -> Cond {
    let mut all = Cond::True;
    // How far the list reaches is no column's business, though one may be named so; `filter=scope.in(…)` asks for that.
    for field in kind.facts.fields.iter().filter(|f| usable(f, scope) && f.name != "scope") {
        let plain = field.flags.has(Flags::FILTER) || matches!(field.name, "id" | "name" | "status" | "external_id" | "os_arch");
        if plain {
            let mut values = params.all(field.name);
            for alias in field.aliases {
                values.extend(params.all(alias));
            }
            if !values.is_empty() {
                all = all.and(any_of(field, &values));
            }
        }
    }
    all = all.and(search(kind, &params.all("search"), scope));
    all = all.and(filters(kind, params, scope));
    all.and(columns(kind, params, scope))
}

/// Equality with one of the texts; what cannot be a value of the column matches nothing.
pub(crate) fn any_of(field: &Field, values: &[String]) -> Cond {
    Cond::In(field.name.into(), values.iter().filter_map(|v| Value::parse(field.kind, v).ok()).collect())
}

fn search(kind: &Kind, texts: &[String], scope: Scope) -> Cond {
    if texts.is_empty() {
        return Cond::True;
    }
    let mut any = Cond::False;
    for text in texts {
        for field in kind.facts.fields.iter().filter(|f| usable(f, scope)) {
            if field.flags.has(Flags::SEARCH) {
                any = any.or(Cond::Text(field.name.into(), Match::Contains, text.clone()));
            } else if field.name == "id" && field.kind == base::Kind::Text {
                any = any.or(Cond::eq("id", text.as_str()));
            }
        }
    }
    any
}

fn filters(kind: &Kind, params: &Params, scope: Scope) -> Cond {
    let mut conds = params.all("filter").into_iter().filter_map(|text| one(kind, &text, scope));
    if params.flag("filter_any") == Some(true) {
        conds.reduce(Cond::or).unwrap_or(Cond::True)
    } else {
        conds.by_ref().fold(Cond::True, Cond::and)
    }
}

/// One `field.op(args)`; `None` when it is none, or about a column that is not there.
pub(crate) fn one(kind: &Kind, text: &str, scope: Scope) -> Option<Cond> {
    let (name, op, args) = parse(text)?;
    let field = kind.facts.field(name).filter(|f| usable(f, scope))?;
    operator(field, op, &args)
}

/// `@name=x`, `@name__contains=x`; a leading `i` of the operator is what the database does anyway.
fn columns(kind: &Kind, params: &Params, scope: Scope) -> Cond {
    let Json::Object(map) = &params.0 else { return Cond::True };
    let mut all = Cond::True;
    for key in map.keys().filter(|k| k.starts_with('@')) {
        let (name, op) = key[1..].split_once("__").unwrap_or((&key[1..], "in"));
        let Some(field) = kind.facts.field(name).filter(|f| usable(f, scope)) else { continue };
        let op = match op.strip_prefix('i').unwrap_or(op) {
            "empty" => "isnullorempty",
            "n" | "in" | "" => "in",
            other => other,
        };
        if let Some(cond) = operator(field, op, &params.all(key)) {
            all = all.and(cond);
        }
    }
    all
}

/// Splits `status.in("running",ready)`.
fn parse(text: &str) -> Option<(&str, &str, Vec<String>)> {
    let (head, rest) = text.split_once('(')?;
    let inner = rest.trim_end().strip_suffix(')')?;
    let (field, op) = head.trim().split_once('.')?;
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (word(field) && word(op)).then(|| (field, op, arguments(inner)))
}

/// Comma separated, each optionally in single or double quotes.
fn arguments(inner: &str) -> Vec<String> {
    let mut out = Vec::new();
    let (mut current, mut quote, mut quoted) = (String::new(), None, false);
    for c in inner.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => current.push(c),
            (None, '"' | '\'') if current.trim().is_empty() => {
                current.clear();
                (quote, quoted) = (Some(c), true);
            }
            (None, ',') => {
                out.push(if quoted { std::mem::take(&mut current) } else { std::mem::take(&mut current).trim().to_string() });
                quoted = false;
            }
            (None, c) => current.push(c),
        }
    }
    let last = if quoted { current } else { current.trim().to_string() };
    if !last.is_empty() || quoted || !out.is_empty() {
        out.push(last);
    }
    out
}

fn operator(field: &Field, op: &str, args: &[String]) -> Option<Cond> {
    let name = || store::Name::from(field.name);
    let value = |text: &String| Value::parse(field.kind, text).ok();
    let first = || args.first().and_then(value);
    let compare = |op| first().map(|v| Cond::Cmp(name(), op, v));
    let matching =
        |how| (field.kind == base::Kind::Text).then(|| args.iter().fold(Cond::False, |c, t| c.or(Cond::Text(name(), how, t.clone()))));
    let empty = || if field.kind == base::Kind::Text { Cond::eq(name(), "") } else { Cond::IsNull(name()) };
    Some(match op {
        "in" | "equals" => Cond::In(name(), args.iter().filter_map(value).collect()),
        "notin" | "notequals" => Cond::In(name(), args.iter().filter_map(value).collect()).not(),
        "between" => {
            let (low, high) = (first()?, args.get(1).and_then(value)?);
            Cond::Cmp(name(), Op::Ge, low).and(Cond::Cmp(name(), Op::Le, high))
        }
        "ge" => compare(Op::Ge)?,
        "gt" => compare(Op::Gt)?,
        "le" => compare(Op::Le)?,
        "lt" => compare(Op::Lt)?,
        "like" => matching(Match::Like)?,
        "contains" => matching(Match::Contains)?,
        "startswith" => matching(Match::Starts)?,
        "endswith" => matching(Match::Ends)?,
        "isnull" => Cond::IsNull(name()),
        "isnotnull" => Cond::IsNull(name()).not(),
        "isempty" => empty(),
        "isnotempty" => empty().not(),
        "isnullorempty" => Cond::IsNull(name()).or(empty()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        let check = |text: &str, want: Option<(&str, &str, &[&str])>| {
            let got = parse(text);
            let got = got.as_ref().map(|(f, o, a)| (*f, *o, a.iter().map(String::as_str).collect::<Vec<_>>()));
            assert_eq!(got, want.map(|(f, o, a)| (f, o, a.to_vec())), "{text}");
        };
        check(r#"status.in("running","ready")"#, Some(("status", "in", &["running", "ready"])));
        check("name.contains(web)", Some(("name", "contains", &["web"])));
        check("name.equals( a , b )", Some(("name", "equals", &["a", "b"])));
        check(r#"name.equals("a,b", ' c ')"#, Some(("name", "equals", &["a,b", " c "])));
        check("deleted_at.isnull()", Some(("deleted_at", "isnull", &[])));
        check(r#"name.equals("")"#, Some(("name", "equals", &[""])));
        check("name", None);
        check("name.in(a", None);
        check("na me.in(a)", None);
        check(".in(a)", None);
    }
}
