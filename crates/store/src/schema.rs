//! What columns a live table has, from the catalogue of either database.

use crate::db::Db;
use crate::sql::{Arg, Dialect, Sql};
use base::{Kind, Result, Value};

pub(crate) struct Column {
    pub name: String,
    /// The declared type, as the database names it.
    pub type_: String,
    pub not_null: bool,
    /// Whether it is part of the primary key.
    pub primary: bool,
}

const SQLITE: &str = "SELECT name, type, \"notnull\" <> 0, pk <> 0 FROM pragma_table_info(?) ORDER BY cid";
const POSTGRES: &str = "SELECT c.column_name::text, c.data_type::text, c.is_nullable = 'NO', EXISTS (\
     SELECT 1 FROM information_schema.table_constraints t JOIN information_schema.key_column_usage k \
     ON k.constraint_schema = t.constraint_schema AND k.constraint_name = t.constraint_name AND k.table_name = t.table_name \
     WHERE t.constraint_type = 'PRIMARY KEY' AND t.table_schema = c.table_schema AND t.table_name = c.table_name AND k.column_name = c.column_name) \
     FROM information_schema.columns c WHERE c.table_schema = current_schema() AND c.table_name = $1 ORDER BY c.ordinal_position";

pub(crate) async fn columns(db: &Db, table: &str) -> Result<Vec<Column>> {
    let text = if db.dialect() == Dialect::Sqlite { SQLITE } else { POSTGRES };
    let kinds = vec![Kind::Text, Kind::Text, Kind::Bool, Kind::Bool];
    let rows = db.core.fetch(Sql { text: text.into(), args: vec![Arg::Text(table.into())], kinds, cached: false }).await?;
    let flag = |value: &Value| value.as_bool().unwrap_or(false);
    let column = |row: Vec<Value>| Column {
        name: row[0].as_str().to_string(),
        type_: row[1].as_str().to_string(),
        not_null: flag(&row[2]),
        primary: flag(&row[3]),
    };
    Ok(rows.into_iter().map(column).collect())
}
