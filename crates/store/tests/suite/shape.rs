//! Drafted tables fit the facts, and what does not fit is named.

use crate::fixture::{Crate, Rig, both};
use base::Resource;
use store::{Migrations, ddl};

both!(a_draft_fits, differences_are_named, copies);

async fn a_draft_fits(rig: Rig) {
    let db = rig.open().await;
    assert_eq!(ddl::check(&db, Crate::facts()).await.unwrap(), [""; 0]);
}

async fn differences_are_named(rig: Rig) {
    let db = rig.bare().await;
    assert_eq!(ddl::check(&db, Crate::facts()).await.unwrap(), ["table crates is missing"]);
    let draft = ddl::create_table(Crate::facts(), rig.dialect);
    let quote = if rig.dialect == store::Dialect::Sqlite { "`" } else { "\"" };
    let mut lines: Vec<String> = draft.lines().map(str::to_string).collect();
    lines.retain(|l| !l.contains("capacity"));
    let other = |line: &str| {
        line.replace("INTEGER NOT NULL DEFAULT 0", "TEXT NOT NULL DEFAULT ''")
            .replace("BIGINT NOT NULL DEFAULT 0", "TEXT NOT NULL DEFAULT ''")
    };
    for line in &mut lines {
        if line.contains(&format!("{quote}used{quote}")) {
            *line = other(line);
        } else if line.contains(&format!("{quote}name{quote}")) {
            *line = "    name TEXT,\n    extra TEXT,".into();
        }
    }
    let text = crate::fixture::leak(lines.join("\n"));
    let files: &'static [(&str, &str)] = Box::leak(vec![("0001_x.sql", text)].into_boxed_slice());
    db.migrate(&Migrations { owner: "x", sqlite: files, postgres: files }).await.unwrap();
    let want = if rig.dialect == store::Dialect::Sqlite { "INTEGER" } else { "BIGINT" };
    let found = ddl::check(&db, Crate::facts()).await.unwrap();
    let mut found: Vec<String> = found.iter().map(|f| f.to_lowercase()).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "crates.capacity is missing".to_string(),
            "crates.extra is not in the facts".into(),
            "crates.name is null, the facts want not null".into(),
            format!("crates.used is text, the facts want {want}").to_lowercase(),
        ]
    );
}

async fn copies(rig: Rig) {
    let db = rig.open().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy.db");
    let copied = db.backup_to(&path).await;
    if rig.dialect == store::Dialect::Postgres {
        assert_eq!(copied.expect_err("not here").class(), base::Class::UnsupportedOperation);
        return;
    }
    copied.unwrap();
    let copy = store::Db::open(&format!("sqlite://{}", path.display())).await.unwrap();
    assert_eq!(ddl::check(&copy, Crate::facts()).await.unwrap(), [""; 0]);
    assert!(db.backup_to(&path).await.is_err(), "a copy overwrites nothing");
}
