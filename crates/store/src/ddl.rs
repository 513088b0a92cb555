//! Tables from facts: drafts of CREATE TABLE for migration files and tests, and the comparison of a live table with the facts.

use crate::db::Db;
use crate::sql::Dialect;
use base::{Facts, Field, Kind, Result};

/// Drafts the CREATE TABLE of a resource: one column per field, the identifier as primary key, a default wherever the column cannot be NULL.
pub fn create_table(facts: &Facts, dialect: Dialect) -> String {
    let columns: Vec<String> = facts.fields.iter().map(|field| format!("    {}", column(field, dialect))).collect();
    format!("CREATE TABLE {} (\n{}\n);\n", quoted(facts.table, dialect), columns.join(",\n"))
}

/// The line of one column, for drafts that add columns: `ALTER TABLE servers ADD COLUMN ..`.
pub fn column(field: &Field, dialect: Dialect) -> String {
    let name = quoted(field.name, dialect);
    let type_ = type_of(field.kind, dialect);
    // Bytes are compared, as SQLite does, whatever the locale of the server.
    let collate = if field.kind == Kind::Text && dialect == Dialect::Postgres { " COLLATE \"C\"" } else { "" };
    if field.name == "id" {
        return format!("{name} {type_}{collate} NOT NULL PRIMARY KEY");
    }
    if field.nullable {
        return format!("{name} {type_}{collate}");
    }
    format!("{name} {type_}{collate} NOT NULL DEFAULT {}", default(field, dialect))
}

fn quoted(name: &str, dialect: Dialect) -> String {
    if dialect == Dialect::Sqlite { format!("`{name}`") } else { format!("\"{name}\"") }
}

fn type_of(kind: Kind, dialect: Dialect) -> &'static str {
    match (kind, dialect) {
        (Kind::Text | Kind::Json, _) => "TEXT",
        (Kind::Int | Kind::Time | Kind::Bool, Dialect::Sqlite) => "INTEGER",
        (Kind::Int | Kind::Time, Dialect::Postgres) => "BIGINT",
        (Kind::Bool, Dialect::Postgres) => "BOOLEAN",
        (Kind::Float, Dialect::Sqlite) => "REAL",
        (Kind::Float, Dialect::Postgres) => "DOUBLE PRECISION",
    }
}

fn default(field: &Field, dialect: Dialect) -> String {
    use base::Value;
    let value = field.default.and_then(|text| Value::parse(field.kind, text).ok());
    let text = |s: &str| format!("'{}'", s.replace('\'', "''"));
    match (value.unwrap_or(Value::Null), field.kind) {
        (Value::Text(s), _) => text(&s),
        (Value::Json(j), _) => text(&j.to_string()),
        (Value::Int(n), _) => n.to_string(),
        (Value::Time(t), _) => t.micros().to_string(),
        (Value::Float(f), _) => f.to_string(),
        (Value::Bool(b), _) if dialect == Dialect::Postgres => b.to_string(),
        (Value::Bool(b), _) => i64::from(b).to_string(),
        (Value::Null, Kind::Text) => "''".to_string(),
        (Value::Null, Kind::Json) => "'null'".to_string(),
        (Value::Null, Kind::Bool) if dialect == Dialect::Postgres => "FALSE".to_string(),
        (Value::Null, _) => "0".to_string(),
    }
}

/// How a live table differs from the facts, one sentence each; empty when it does not. Columns the facts do not know are named too.
pub async fn check(db: &Db, facts: &Facts) -> Result<Vec<String>> {
    let live = crate::schema::columns(db, facts.table).await?;
    let mut out = Vec::new();
    if live.is_empty() {
        return Ok(vec![format!("table {} is missing", facts.table)]);
    }
    for field in &facts.fields {
        let Some(column) = live.iter().find(|c| c.name == field.name) else {
            out.push(format!("{}.{} is missing", facts.table, field.name));
            continue;
        };
        let want = type_of(field.kind, db.dialect());
        if !column.type_.eq_ignore_ascii_case(want) {
            out.push(format!("{}.{} is {}, the facts want {want}", facts.table, field.name, column.type_));
        }
        if column.not_null == field.nullable {
            let (is, want) = if column.not_null { ("NOT NULL", "NULL") } else { ("NULL", "NOT NULL") };
            out.push(format!("{}.{} is {is}, the facts want {want}", facts.table, field.name));
        }
        if column.primary != (field.name == "id") {
            out.push(format!("{}.{} {} the primary key", facts.table, field.name, if column.primary { "must not be" } else { "must be" }));
        }
    }
    for column in live.iter().filter(|c| !facts.has(&c.name)) {
        out.push(format!("{}.{} is not in the facts", facts.table, column.name));
    }
    Ok(out)
}
