//! The SQL of every form the query tree has, for both dialects, as it stands in `golden/*.sql`. `WOLKE_GOLDEN=write` writes the files anew.

use base::{Json, Kind, Resource, Row, Timestamp, Value};
use std::fmt::Write;
use store::sql::{self, Clash, Sql, Wish};
use store::{Cond, Dialect, Match, Op, Order, Pick, Select, add, ddl, set};

/// A box of the golden files.
#[derive(Clone, Debug, Default, base::Resource)]
#[resource(name = "box", plural = "boxes", service = "test", level = system)]
struct Box_ {
    /// Identifier.
    id: String,
    /// Name.
    #[field(default = "it's")]
    name: String,
    /// Pieces.
    #[field(default = "7")]
    pieces: i64,
    /// Weight.
    #[field(default = "0.5")]
    weight: f64,
    /// Open.
    #[field(default = "true")]
    open: bool,
    /// Shut.
    shut: Option<bool>,
    /// Parent.
    parent: Option<String>,
    /// Labels.
    #[field(default = "{\"a\":1}")]
    labels: Json,
    /// Notes.
    notes: Option<Json>,
    /// Made.
    made_at: Timestamp,
    /// Sealed.
    sealed_at: Option<Timestamp>,
}

fn conditions() -> Vec<(&'static str, Cond)> {
    let inner = Select::from("lids").column("box_id", Kind::Text).filter(Cond::eq("open", false)).page(5, 0);
    let text = |how, text: &str| Cond::Text("name".into(), how, text.into());
    vec![
        (
            "every comparison",
            [Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge].map(|op| Cond::cmp("pieces", op, 1)).into_iter().fold(Cond::True, Cond::and),
        ),
        (
            "every kind of value",
            Cond::eq("name", "a")
                .and(Cond::eq("weight", 0.5))
                .and(Cond::eq("open", true))
                .and(Cond::eq("made_at", Timestamp(5)))
                .and(Cond::eq("labels", serde_json::json!([1]))),
        ),
        ("a comparison with null", Cond::eq("parent", Value::Null)),
        ("null", Cond::IsNull("parent".into())),
        ("not", Cond::eq("parent", "x").not()),
        ("and in or in and", Cond::eq("id", "a").or(Cond::eq("id", "b").and(Cond::eq("open", true))).and(Cond::eq("pieces", 1))),
        ("empty and", Cond::And(vec![]).not()),
        ("empty or", Cond::Or(vec![]).not()),
        ("two columns", Cond::CmpCol("pieces".into(), Op::Le, "weight".into())),
        ("room", Cond::Fits { used: "pieces".into(), add: 3, cap: "weight".into() }),
        ("in nothing", Cond::is_in::<&str>("id", [])),
        ("in one", Cond::is_in("id", ["a"])),
        ("in three", Cond::is_in("id", ["a", "b", "c"])),
        ("in ten texts", Cond::is_in("id", (0..10).map(|n| format!("\"{n}'")))),
        ("in ten numbers", Cond::is_in("pieces", 0..10_i64)),
        ("in ten flags", Cond::is_in("open", [true; 10])),
        ("in ten weights", Cond::is_in("weight", [0.5; 10])),
        ("in a select", Cond::in_select("id", inner)),
        ("contains", text(Match::Contains, "5%_\\x")),
        ("starts", text(Match::Starts, "5%")),
        ("ends", text(Match::Ends, "5%")),
        ("like", text(Match::Like, "5%\\")),
    ]
}

fn selects() -> Vec<(&'static str, Select)> {
    let ids = || Select::from("boxes").column("id", Kind::Text);
    vec![
        ("nothing picked", Select::from("boxes").page(1, 0)),
        ("distinct", Select { distinct: true, ..ids().order(Order::asc("id")) }),
        ("ordered both ways", ids().order(Order::asc("parent")).order(Order::desc("id"))),
        ("a page", ids().filter(Cond::eq("open", true)).order(Order::asc("id")).page(20, 40)),
        ("the rest", Select { offset: 3, ..ids() }),
        (
            "groups",
            Select::from("boxes")
                .column("open", Kind::Bool)
                .pick(Pick::Count)
                .pick(Pick::Sum("pieces".into()))
                .pick(Pick::SumProduct("pieces".into(), "weight".into()))
                .pick(Pick::Min("made_at".into(), Kind::Time))
                .pick(Pick::Max("name".into(), Kind::Text))
                .group_by("open")
                .order(Order::asc("open")),
        ),
    ]
}

fn all(dialect: Dialect) -> String {
    let facts = Box_::facts();
    let mut out = ddl::create_table(facts, dialect);
    let mut say = |what: &str, sql: base::Result<Sql>| {
        let sql = sql.unwrap_or_else(|e| panic!("{what}: {:?}", e.context()));
        let _ = write!(out, "\n-- {what}\n{};\n", sql.text);
        for (i, arg) in sql.args.iter().enumerate() {
            let _ = writeln!(out, "--   {} {arg:?}", i + 1);
        }
    };
    for (what, cond) in conditions() {
        say(what, sql::select(dialect, &Select::from("boxes").pick(Pick::Count).filter(cond), Wish::default()));
    }
    for (what, q) in selects() {
        say(what, sql::select(dialect, &q, Wish::default()));
    }
    let known = Select::from("boxes").column("id", Kind::Text).order(Order::asc("parent")).order(Order::desc("id"));
    say("ordered, with the facts at hand", sql::select(dialect, &known, Wish { facts: Some(facts), lock: false }));
    say("locked", sql::select(dialect, &known, Wish { facts: Some(facts), lock: true }));
    let mut row = Row::new::<Box_>();
    row.set("id", "a");
    row.set("labels", serde_json::json!({"b": "c"}));
    say("a row put in", sql::insert_row(dialect, &row, Clash::Refuse));
    say("a row put in if it can be", sql::insert_row(dialect, &row, Clash::Keep));
    let cols = [("id".into(), "a".into()), ("shut".into(), Value::Null), ("pieces".into(), 1.into())];
    say("columns put in", sql::insert(dialect, "boxes", &cols, Clash::Refuse));
    say("columns put in or over", sql::insert(dialect, "boxes", &cols, Clash::Overwrite(&["id"])));
    say("a key put in or over", sql::insert(dialect, "boxes", &cols[..1], Clash::Overwrite(&["id"])));
    let sets = [
        set("name", "n"),
        set("parent", Value::Null),
        add("pieces", -2),
        set("weight", 1.5),
        set("open", false),
        set("made_at", Timestamp(9)),
    ];
    say("an update", sql::update(dialect, "boxes", &Cond::eq("id", "a"), &sets));
    say("a delete", sql::delete(dialect, "boxes", &Cond::eq("id", "a")));
    say("a delete of all", sql::delete(dialect, "boxes", &Cond::True));
    out
}

#[test]
fn golden() {
    for (dialect, file) in [(Dialect::Sqlite, "sqlite.sql"), (Dialect::Postgres, "postgres.sql")] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
        let now = all(dialect);
        if std::env::var("WOLKE_GOLDEN").is_ok_and(|v| v == "write") {
            std::fs::write(&path, &now).expect("writing");
            continue;
        }
        let then = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = now.lines().zip(then.lines()).position(|(a, b)| a != b).unwrap_or(now.lines().count().min(then.lines().count()));
        assert!(
            now == then,
            "{file}, line {}:\n{}\nWOLKE_GOLDEN=write accepts it",
            differs + 1,
            now.lines().nth(differs).unwrap_or("(end)")
        );
    }
}
