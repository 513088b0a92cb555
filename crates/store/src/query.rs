//! What can be asked of a table: a small tree, turned into SQL by [`crate::sql`] for either dialect. Values are bound, never spliced;
//! truth values alone are written out.

use base::{Facts, Kind, Value};
use std::borrow::Cow;

pub type Name = Cow<'static, str>;

/// Comparison operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// How a text is matched; `%` and `_` in the text are literal. ASCII case is ignored, as existing clients expect of their database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    Contains,
    Starts,
    Ends,
    /// The text is a SQL pattern of the caller's.
    Like,
}

/// A condition on the columns of one table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cond {
    True,
    False,
    And(Vec<Cond>),
    Or(Vec<Cond>),
    Not(Box<Cond>),
    /// `column op value`; a comparison with NULL is false, use [`Cond::IsNull`].
    Cmp(Name, Op, Value),
    /// `column op other column` of the same table.
    CmpCol(Name, Op, Name),
    In(Name, Vec<Value>),
    IsNull(Name),
    Text(Name, Match, String),
    /// `column IN (SELECT ..)`; the select names exactly one column.
    InSelect(Name, Box<Select>),
    /// `column + add <= other column`: capacity checks inside an update.
    Fits {
        used: Name,
        add: i64,
        cap: Name,
    },
}

impl Cond {
    pub fn eq(column: impl Into<Name>, value: impl Into<Value>) -> Cond {
        Cond::Cmp(column.into(), Op::Eq, value.into())
    }
    pub fn ne(column: impl Into<Name>, value: impl Into<Value>) -> Cond {
        Cond::Cmp(column.into(), Op::Ne, value.into())
    }
    pub fn cmp(column: impl Into<Name>, op: Op, value: impl Into<Value>) -> Cond {
        Cond::Cmp(column.into(), op, value.into())
    }
    pub fn is_in<V: Into<Value>>(column: impl Into<Name>, values: impl IntoIterator<Item = V>) -> Cond {
        Cond::In(column.into(), values.into_iter().map(Into::into).collect())
    }
    pub fn in_select(column: impl Into<Name>, select: Select) -> Cond {
        Cond::InSelect(column.into(), Box::new(select))
    }
    #[must_use]
    pub fn and(self, other: Cond) -> Cond {
        match (self, other) {
            (Cond::True, c) | (c, Cond::True) => c,
            (Cond::False, _) | (_, Cond::False) => Cond::False,
            (Cond::And(mut a), Cond::And(b)) => {
                a.extend(b);
                Cond::And(a)
            }
            (Cond::And(mut a), c) => {
                a.push(c);
                Cond::And(a)
            }
            (a, b) => Cond::And(vec![a, b]),
        }
    }
    #[must_use]
    pub fn or(self, other: Cond) -> Cond {
        match (self, other) {
            (Cond::False, c) | (c, Cond::False) => c,
            (Cond::True, _) | (_, Cond::True) => Cond::True,
            (Cond::Or(mut a), c) => {
                a.push(c);
                Cond::Or(a)
            }
            (a, b) => Cond::Or(vec![a, b]),
        }
    }
    /// Whether it is plain that no row meets it, so that nobody need be asked.
    pub fn never(&self) -> bool {
        match self {
            Cond::False => true,
            Cond::In(_, values) => values.is_empty(),
            Cond::And(all) => all.iter().any(Cond::never),
            _ => false,
        }
    }
    #[allow(clippy::should_implement_trait)]
    #[must_use]
    pub fn not(self) -> Cond {
        Cond::Not(Box::new(self))
    }
}

/// A select-list entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Pick {
    Column(Name, Kind),
    /// `COUNT(*)`
    Count,
    /// `COALESCE(SUM(column), 0)`, a whole number; a fraction is cut off.
    Sum(Name),
    /// `COALESCE(SUM(a * b), 0)`: capacity over a count.
    SumProduct(Name, Name),
    Min(Name, Kind),
    Max(Name, Kind),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub column: Name,
    pub descending: bool,
}

impl Order {
    pub fn asc(column: impl Into<Name>) -> Order {
        Order { column: column.into(), descending: false }
    }
    pub fn desc(column: impl Into<Name>) -> Order {
        Order { column: column.into(), descending: true }
    }
}

/// One table, one condition, one page.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    pub table: Name,
    pub pick: Vec<Pick>,
    pub distinct: bool,
    pub cond: Cond,
    pub group: Vec<Name>,
    pub order: Vec<Order>,
    pub limit: Option<u64>,
    pub offset: u64,
}

impl Select {
    pub fn from(table: impl Into<Name>) -> Select {
        Select {
            table: table.into(),
            pick: Vec::new(),
            distinct: false,
            cond: Cond::True,
            group: Vec::new(),
            order: Vec::new(),
            limit: None,
            offset: 0,
        }
    }
    /// All columns of a resource's table, in their order.
    pub fn whole(facts: &'static Facts) -> Select {
        facts.fields.iter().fold(Select::from(facts.table), |q, f| q.column(f.name, f.kind))
    }
    /// Some columns of a resource's table, of the kinds its facts name.
    pub fn of(facts: &'static Facts, columns: &[&'static str]) -> Select {
        // What is no column is refused by the database, whatever its kind.
        let kind = |name: &str| facts.field(name).map_or(Kind::Text, |f| f.kind);
        columns.iter().fold(Select::from(facts.table), |q, name| q.column(*name, kind(name)))
    }
    #[must_use]
    pub fn pick(mut self, pick: Pick) -> Select {
        self.pick.push(pick);
        self
    }
    #[must_use]
    pub fn column(self, name: impl Into<Name>, kind: Kind) -> Select {
        self.pick(Pick::Column(name.into(), kind))
    }
    #[must_use]
    pub fn filter(mut self, cond: Cond) -> Select {
        self.cond = self.cond.and(cond);
        self
    }
    #[must_use]
    pub fn group_by(mut self, column: impl Into<Name>) -> Select {
        self.group.push(column.into());
        self
    }
    #[must_use]
    pub fn order(mut self, order: Order) -> Select {
        self.order.push(order);
        self
    }
    #[must_use]
    pub fn page(mut self, limit: u64, offset: u64) -> Select {
        (self.limit, self.offset) = (Some(limit), offset);
        self
    }
}

/// What an update puts into a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Put {
    To(Value),
    /// `column = column + n`
    Add(i64),
}

/// Assignments of an update.
pub type Sets = Vec<(Name, Put)>;

/// `set("status", "ready")`
pub fn set(column: impl Into<Name>, value: impl Into<Value>) -> (Name, Put) {
    (column.into(), Put::To(value.into()))
}

/// `add("mem_commit", -512)`
pub fn add(column: impl Into<Name>, n: i64) -> (Name, Put) {
    (column.into(), Put::Add(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_meets() {
        let none = || Cond::is_in("id", Vec::<String>::new());
        assert!(Cond::False.never() && none().never() && Cond::eq("a", 1).and(none()).never());
        assert!(!none().not().never() && !none().or(Cond::eq("a", 1)).never() && !Cond::True.never());
    }
}
