//! Turns the query tree into SQL text for one dialect. Called by [`crate::Read`] and [`crate::Tx`]; pure, knows no connection.
//!
//! Values are always bound. Identifiers come from our own code (facts, literals) and are checked anyway, so that a column name that ever came from a
//! request cannot become SQL. They are quoted because columns may be called `order` or `user`; SQLite takes backticks, since a misspelt name in
//! double quotes silently becomes a string there.

use crate::query::{Cond, Match, Name, Op, Order, Pick, Put, Select};
use base::{Facts, Kind, Result, Value, err};
use std::fmt::Write;

/// Which database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// A bound value.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A NULL of a known kind: PostgreSQL wants to know the type even of nothing.
    Null(Kind),
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Arrays exist on PostgreSQL only.
    Texts(Vec<String>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Bools(Vec<bool>),
}

/// A statement ready to run: its text, its values and, for a query, the kind of each column it answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Sql {
    pub text: String,
    pub args: Vec<Arg>,
    pub kinds: Vec<Kind>,
    /// Whether the text comes up again and its plan is worth keeping.
    pub cached: bool,
}

/// Longest pattern of a text match, in bytes; SQLite itself refuses above 50 000.
pub const MAX_PATTERN: usize = 8192;

/// Longest list SQLite gets as single parameters; beyond it goes as one JSON array, so that the number of different texts stays small.
const MAX_INLINE_LIST: usize = 8;

/// Values of an array whose length PostgreSQL does not know when it plans.
const PLANNED_FOR: usize = 10;

/// How many kinds of values there are.
const KINDS: usize = Kind::Json as usize + 1;

/// How a select is wanted beyond what it says itself.
#[derive(Clone, Copy, Default)]
pub struct Wish {
    /// The facts of the table, where known: columns that cannot be NULL are ordered without a word on NULLs, so that indexes serve the order.
    pub facts: Option<&'static Facts>,
    /// Lock the rows until the transaction ends. SQLite has one writer and needs no word for it.
    pub lock: bool,
}

/// A statement being written.
pub(crate) struct Writer {
    dialect: Dialect,
    text: String,
    args: Vec<Arg>,
}

impl Writer {
    pub(crate) fn new(dialect: Dialect) -> Writer {
        Writer { dialect, text: String::with_capacity(256), args: Vec::new() }
    }

    pub(crate) fn done(self, kinds: Vec<Kind>) -> Sql {
        Sql { text: self.text, args: self.args, kinds, cached: true }
    }

    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub(crate) fn name(&mut self, name: &str) -> Result<&mut Self> {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            return Err(err!(InputParameter, "{} is not a column", name));
        }
        let quote = if self.dialect == Dialect::Sqlite { '`' } else { '"' };
        self.text.push(quote);
        self.text.push_str(name);
        self.text.push(quote);
        Ok(self)
    }

    fn names<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Result<&mut Self> {
        for (i, name) in names.into_iter().enumerate() {
            if i > 0 {
                self.raw(", ");
            }
            self.name(name)?;
        }
        Ok(self)
    }

    /// Writes the place of a bound value. On PostgreSQL the type is part of the text wherever it is not text: a prepared statement keeps the
    /// types of its first use, and another type under the same text would be read as rubbish.
    pub(crate) fn arg(&mut self, arg: Arg) -> &mut Self {
        if self.dialect == Dialect::Sqlite {
            self.text.push('?');
        } else {
            let cast = match &arg {
                Arg::Text(_) | Arg::Null(Kind::Text | Kind::Json) => "",
                Arg::Int(_) | Arg::Null(Kind::Int | Kind::Time) => "::int8",
                Arg::Float(_) | Arg::Null(Kind::Float) => "::float8",
                Arg::Bool(_) | Arg::Null(Kind::Bool) => "::bool",
                Arg::Texts(_) => "::text[]",
                Arg::Ints(_) => "::int8[]",
                Arg::Floats(_) => "::float8[]",
                Arg::Bools(_) => "::bool[]",
            };
            let _ = write!(self.text, "${}{cast}", self.args.len() + 1);
        }
        self.args.push(arg);
        self
    }

    /// Writes a value whose column may be of any kind; NULL stands in the text, as its type is not known.
    pub(crate) fn value(&mut self, value: &Value) -> Result<&mut Self> {
        match arg_of(value)? {
            Some(arg) => self.arg(arg),
            None => self.raw("NULL"),
        };
        Ok(self)
    }

    fn cond(&mut self, cond: &Cond) -> Result<()> {
        match cond {
            Cond::True => _ = self.raw("TRUE"),
            Cond::False => _ = self.raw("FALSE"),
            Cond::And(all) => self.list(all, " AND ", "TRUE")?,
            Cond::Or(any) => self.list(any, " OR ", "FALSE")?,
            Cond::Not(inner) => {
                // A comparison with NULL is neither true nor false in SQL; here it is false, so its opposite is true.
                self.raw("(");
                self.cond(inner)?;
                self.raw(") IS NOT TRUE");
            }
            Cond::Cmp(_, _, Value::Null) => _ = self.raw("FALSE"),
            // Written out: an index of the rows that are not deleted serves nobody who leaves open which rows he means.
            Cond::Cmp(column, op, Value::Bool(is)) => {
                let is = match (self.dialect, is) {
                    (Dialect::Sqlite, true) => "1",
                    (Dialect::Sqlite, false) => "0",
                    (Dialect::Postgres, true) => "TRUE",
                    (Dialect::Postgres, false) => "FALSE",
                };
                self.name(column)?.raw(word(*op)).raw(is);
            }
            Cond::Cmp(column, op, value) => {
                self.name(column)?.raw(word(*op)).value(value)?;
            }
            Cond::CmpCol(column, op, other) => {
                self.name(column)?.raw(word(*op)).name(other)?;
            }
            Cond::In(column, values) => self.within(column, values)?,
            Cond::IsNull(column) => {
                self.name(column)?.raw(" IS NULL");
            }
            Cond::Text(column, how, text) => {
                let pattern = pattern(*how, text)?;
                let like = if self.dialect == Dialect::Sqlite { " LIKE " } else { " ILIKE " };
                self.name(column)?.raw(like).arg(Arg::Text(pattern)).raw(" ESCAPE '\\'");
            }
            Cond::InSelect(column, select) => {
                if select.pick.len() != 1 {
                    return Err(base::Error::internal(format!("a select inside a condition on {column} must name one column")));
                }
                self.name(column)?.raw(" IN (");
                self.select(select, Wish::default())?;
                self.raw(")");
            }
            Cond::Fits { used, add, cap } => {
                self.name(used)?.raw(" + ").arg(Arg::Int(*add)).raw(" <= ").name(cap)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, conds: &[Cond], joint: &str, empty: &str) -> Result<()> {
        match conds {
            [] => _ = self.raw(empty),
            [one] => self.cond(one)?,
            many => {
                self.raw("(");
                for (i, cond) in many.iter().enumerate() {
                    if i > 0 {
                        self.raw(joint);
                    }
                    self.cond(cond)?;
                }
                self.raw(")");
            }
        }
        Ok(())
    }

    fn within(&mut self, column: &Name, values: &[Value]) -> Result<()> {
        let mut args = Vec::with_capacity(values.len());
        for value in values {
            // NULL equals nothing, so it adds nothing to a list.
            args.extend(arg_of(value)?);
        }
        if args.is_empty() {
            self.raw("FALSE");
            return Ok(());
        }
        self.name(column)?;
        if args.len() == 1 {
            self.raw(" = ");
            for arg in args {
                self.arg(arg);
            }
        } else if self.dialect == Dialect::Postgres {
            // A plan that is made once for all values counts on ten. For fewer it would be made anew each time, as that looks cheaper; values said twice
            // are looked for once.
            let last = args.last().cloned();
            args.extend(std::iter::repeat_n(last, PLANNED_FOR.saturating_sub(args.len())).flatten());
            let array = array(args).ok_or_else(|| base::Error::internal(format!("values of different kinds in a list for {column}")))?;
            self.raw(" = ANY(").arg(array).raw(")");
        } else if args.len() <= MAX_INLINE_LIST {
            self.raw(" IN (");
            for (i, arg) in args.into_iter().enumerate() {
                if i > 0 {
                    self.raw(", ");
                }
                self.arg(arg);
            }
            self.raw(")");
        } else {
            let json: Vec<base::Json> = args.into_iter().map(json_of).collect();
            let json = serde_json::to_string(&json).map_err(base::Error::internal)?;
            self.raw(" IN (SELECT value FROM json_each(").arg(Arg::Text(json)).raw("))");
        }
        Ok(())
    }

    fn filter(&mut self, cond: &Cond) -> Result<()> {
        if *cond != Cond::True {
            self.raw(" WHERE ");
            self.cond(cond)?;
        }
        Ok(())
    }

    fn pick(&mut self, pick: &Pick) -> Result<()> {
        let (sum, end) = match self.dialect {
            Dialect::Sqlite => ("CAST(COALESCE(SUM(", "), 0) AS INTEGER)"),
            Dialect::Postgres => ("TRUNC(COALESCE(SUM(", "), 0))::int8"),
        };
        match pick {
            Pick::Column(name, _) => _ = self.name(name)?,
            Pick::Count => _ = self.raw("COUNT(*)"),
            Pick::Sum(name) => _ = self.raw(sum).name(name)?.raw(end),
            Pick::SumProduct(a, b) => _ = self.raw(sum).name(a)?.raw(" * ").name(b)?.raw(end),
            Pick::Min(name, _) => _ = self.raw("MIN(").name(name)?.raw(")"),
            Pick::Max(name, _) => _ = self.raw("MAX(").name(name)?.raw(")"),
        }
        Ok(())
    }

    pub(crate) fn select(&mut self, q: &Select, wish: Wish) -> Result<()> {
        check(q)?;
        self.raw(if q.distinct { "SELECT DISTINCT " } else { "SELECT " });
        if q.pick.is_empty() {
            self.raw("TRUE");
        }
        for (i, pick) in q.pick.iter().enumerate() {
            if i > 0 {
                self.raw(", ");
            }
            self.pick(pick)?;
        }
        self.from(q, wish)
    }

    /// What follows the columns of a select.
    fn from(&mut self, q: &Select, wish: Wish) -> Result<()> {
        self.raw(" FROM ").name(&q.table)?;
        self.filter(&q.cond)?;
        if !q.group.is_empty() {
            self.raw(" GROUP BY ").names(q.group.iter().map(AsRef::as_ref))?;
        }
        self.order(&q.order, wish.facts)?;
        match (q.limit, q.offset) {
            (None, 0) => {}
            (limit, offset) => {
                match (limit, self.dialect) {
                    // A number in the text, as plans depend on it and pages come in few sizes.
                    (Some(n), _) => _ = write!(self.text, " LIMIT {}", clamp(n)),
                    (None, Dialect::Sqlite) => _ = self.raw(" LIMIT -1"),
                    (None, Dialect::Postgres) => {}
                }
                if offset > 0 {
                    self.raw(" OFFSET ").arg(Arg::Int(clamp(offset)));
                }
            }
        }
        if wish.lock && self.dialect == Dialect::Postgres {
            self.raw(" FOR UPDATE");
        }
        Ok(())
    }

    /// NULLs come first when ascending, as they do on SQLite and did on the database existing clients knew.
    fn order(&mut self, order: &[Order], facts: Option<&Facts>) -> Result<()> {
        for (i, order) in order.iter().enumerate() {
            self.raw(if i == 0 { " ORDER BY " } else { ", " }).name(&order.column)?;
            let nullable = facts.and_then(|f| f.field(&order.column)).is_none_or(|f| f.nullable);
            self.raw(match (order.descending, nullable && self.dialect == Dialect::Postgres) {
                (false, false) => "",
                (true, false) => " DESC",
                (false, true) => " NULLS FIRST",
                (true, true) => " DESC NULLS LAST",
            });
        }
        Ok(())
    }
}

/// What PostgreSQL would refuse and SQLite answer with an arbitrary row: refused for both.
fn check(q: &Select) -> Result<()> {
    let picked = |name: &str| q.pick.iter().any(|p| matches!(p, Pick::Column(c, _) if c == name));
    let wrong = |what: &str| Err(base::Error::internal(format!("select from {}: {what}", q.table)));
    if q.distinct && q.order.iter().any(|o| !picked(&o.column)) {
        return wrong("a distinct select is ordered by a column it does not pick");
    }
    let aggregated = !q.group.is_empty() || q.pick.iter().any(|p| !matches!(p, Pick::Column(..)));
    let grouped = |name: &str| q.group.iter().any(|g| g == name);
    if aggregated {
        if q.pick.iter().any(|p| matches!(p, Pick::Column(c, _) if !grouped(c))) {
            return wrong("a column beside an aggregate is not in the group");
        }
        if q.order.iter().any(|o| !grouped(&o.column)) {
            return wrong("groups are ordered by a column that is not in the group");
        }
    }
    Ok(())
}

fn clamp(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn word(op: Op) -> &'static str {
    match op {
        Op::Eq => " = ",
        Op::Ne => " <> ",
        Op::Lt => " < ",
        Op::Le => " <= ",
        Op::Gt => " > ",
        Op::Ge => " >= ",
    }
}

/// The bound form of a value; nothing for NULL.
fn arg_of(value: &Value) -> Result<Option<Arg>> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Text(s) => Arg::Text(clean(s)?.to_string()),
        Value::Int(n) => Arg::Int(*n),
        Value::Float(f) => Arg::Float(*f),
        Value::Bool(b) => Arg::Bool(*b),
        Value::Time(t) => Arg::Int(t.micros()),
        Value::Json(j) => Arg::Text(clean(&j.to_string())?.to_string()),
    }))
}

/// PostgreSQL has no zero character in a text; what one database refuses, both do.
fn clean(text: &str) -> Result<&str> {
    if text.contains('\0') { Err(err!(InputParameter, "text must not contain the zero character")) } else { Ok(text) }
}

fn array(args: Vec<Arg>) -> Option<Arg> {
    macro_rules! all {
        ($one:ident, $many:ident) => {
            Some(Arg::$many(args.into_iter().map(|a| if let Arg::$one(v) = a { Some(v) } else { None }).collect::<Option<_>>()?))
        };
    }
    match args.first()? {
        Arg::Text(_) => all!(Text, Texts),
        Arg::Int(_) => all!(Int, Ints),
        Arg::Float(_) => all!(Float, Floats),
        Arg::Bool(_) => all!(Bool, Bools),
        _ => None,
    }
}

fn json_of(arg: Arg) -> base::Json {
    match arg {
        Arg::Text(s) => s.into(),
        Arg::Int(n) => n.into(),
        Arg::Float(f) => f.into(),
        Arg::Bool(b) => b.into(),
        _ => base::Json::Null,
    }
}

/// The LIKE pattern of a match, escaped by backslashes.
pub fn pattern(how: Match, text: &str) -> Result<String> {
    let text = clean(text)?;
    if text.len() > MAX_PATTERN {
        return Err(err!(InputParameter, "a search text of {} bytes is too long, at most {} are accepted", text.len(), MAX_PATTERN));
    }
    if how == Match::Like {
        // A lone backslash at the end escapes nothing; PostgreSQL calls that an error.
        let trailing = text.bytes().rev().take_while(|b| *b == b'\\').count();
        return Ok(if trailing % 2 == 1 { format!("{text}\\") } else { text.to_string() });
    }
    let mut out = String::with_capacity(text.len() + 4);
    if how != Match::Starts {
        out.push('%');
    }
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    if how != Match::Ends {
        out.push('%');
    }
    Ok(out)
}

/// A select; with [`Wish::default`] nothing beyond what it says.
pub fn select(dialect: Dialect, q: &Select, wish: Wish) -> Result<Sql> {
    let mut w = Writer::new(dialect);
    w.select(q, wish)?;
    let kinds = if q.pick.is_empty() { vec![Kind::Bool] } else { q.pick.iter().map(kind_of).collect() };
    Ok(w.done(kinds))
}

fn kind_of(pick: &Pick) -> Kind {
    match pick {
        Pick::Column(_, kind) | Pick::Min(_, kind) | Pick::Max(_, kind) => *kind,
        Pick::Count | Pick::Sum(_) | Pick::SumProduct(..) => Kind::Int,
    }
}

/// Several selects as one statement, for PostgreSQL, where the way there and back costs more than a short question. The first column of the answer is the
/// number of the select a row is of; the columns of all share places by their kinds, and what comes back beside the statement is the place of each.
pub fn together(dialect: Dialect, all: &[Select]) -> Result<(Sql, Vec<Vec<usize>>)> {
    let mut kinds = vec![Kind::Int];
    let mut places = Vec::with_capacity(all.len());
    for q in all {
        // Where the search for a free place of each kind goes on.
        let mut next = [1; KINDS];
        let mut mine: Vec<usize> = Vec::with_capacity(q.pick.len());
        for kind in q.pick.iter().map(kind_of) {
            let at = &mut next[kind as usize];
            *at = (*at..kinds.len()).find(|at| kinds[*at] == kind).unwrap_or(kinds.len());
            if *at == kinds.len() {
                kinds.push(kind);
            }
            mine.push(*at);
            *at += 1;
        }
        places.push(mine);
    }
    let mut w = Writer::new(dialect);
    for (n, (q, mine)) in all.iter().zip(&places).enumerate() {
        check(q)?;
        if q.distinct || q.pick.is_empty() {
            return Err(base::Error::internal(format!("select from {}: cannot be asked together with others", q.table)));
        }
        let _ = write!(w.text, "{}(SELECT {n}::int8", if n > 0 { " UNION ALL " } else { "" });
        let mut at_place = vec![None; kinds.len()];
        mine.iter().zip(&q.pick).for_each(|(place, pick)| at_place[*place] = Some(pick));
        for (pick, kind) in at_place.into_iter().zip(&kinds).skip(1) {
            w.raw(", ");
            match pick {
                Some(pick) => w.pick(pick)?,
                None => {
                    _ = w.raw(match kind {
                        Kind::Text | Kind::Json => "NULL::text",
                        Kind::Int | Kind::Time => "NULL::int8",
                        Kind::Float => "NULL::float8",
                        Kind::Bool => "NULL::bool",
                    });
                }
            }
        }
        w.from(q, Wish::default())?;
        w.raw(")");
    }
    Ok((w.done(kinds), places))
}

/// What an insert does when a unique key is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash<'a> {
    /// Fails.
    Refuse,
    /// Leaves the old row alone and affects no row.
    Keep,
    /// Overwrites the old row, found by these columns.
    Overwrite(&'a [&'a str]),
}

/// An insert of one row whose kinds are known.
pub fn insert_row(dialect: Dialect, row: &base::Row, clash: Clash) -> Result<Sql> {
    let fields = &row.facts.fields;
    insert_with(dialect, row.facts.table, fields.iter().map(|f| f.name), clash, |w| {
        for (i, (field, value)) in fields.iter().zip(&row.values).enumerate() {
            if i > 0 {
                w.raw(", ");
            }
            w.arg(arg_of(value)?.unwrap_or(Arg::Null(field.kind)));
        }
        Ok(())
    })
}

/// An insert of some columns.
pub fn insert(dialect: Dialect, table: &str, cols: &[(Name, Value)], clash: Clash) -> Result<Sql> {
    insert_with(dialect, table, cols.iter().map(|(c, _)| c.as_ref()), clash, |w| {
        for (i, (_, value)) in cols.iter().enumerate() {
            if i > 0 {
                w.raw(", ");
            }
            w.value(value)?;
        }
        Ok(())
    })
}

fn insert_with<'a>(
    dialect: Dialect,
    table: &str,
    columns: impl Iterator<Item = &'a str> + Clone,
    clash: Clash,
    values: impl FnOnce(&mut Writer) -> Result<()>,
) -> Result<Sql> {
    let mut w = Writer::new(dialect);
    w.raw("INSERT INTO ").name(table)?.raw(" (").names(columns.clone())?.raw(") VALUES (");
    values(&mut w)?;
    w.raw(")");
    match clash {
        Clash::Refuse => {}
        Clash::Keep => _ = w.raw(" ON CONFLICT DO NOTHING"),
        Clash::Overwrite(key) => {
            w.raw(" ON CONFLICT (").names(key.iter().copied())?.raw(") DO ");
            let mut first = true;
            for column in columns.filter(|c| !key.contains(c)) {
                w.raw(if first { "UPDATE SET " } else { ", " }).name(column)?.raw(" = excluded.").name(column)?;
                first = false;
            }
            if first {
                w.raw("NOTHING");
            }
        }
    }
    Ok(w.done(Vec::new()))
}

/// An update of all rows that meet a condition.
pub fn update(dialect: Dialect, table: &str, cond: &Cond, sets: &[(Name, Put)]) -> Result<Sql> {
    let mut w = Writer::new(dialect);
    w.raw("UPDATE ").name(table)?.raw(" SET ");
    if sets.is_empty() {
        return Err(base::Error::internal(format!("an update of {table} sets nothing")));
    }
    for (i, (column, put)) in sets.iter().enumerate() {
        if i > 0 {
            w.raw(", ");
        }
        w.name(column)?.raw(" = ");
        match put {
            Put::To(value) => _ = w.value(value)?,
            Put::Add(n) => _ = w.name(column)?.raw(" + ").arg(Arg::Int(*n)),
        }
    }
    w.filter(cond)?;
    Ok(w.done(Vec::new()))
}

/// A delete of all rows that meet a condition.
pub fn delete(dialect: Dialect, table: &str, cond: &Cond) -> Result<Sql> {
    let mut w = Writer::new(dialect);
    w.raw("DELETE FROM ").name(table)?;
    w.filter(cond)?;
    Ok(w.done(Vec::new()))
}
