//! Migrations: once, in order, whoever starts when.

use crate::fixture::{Rig, both};
use store::{Cond, Migrations, Read};
use tokio::task::JoinSet;

both!(twice, at_the_same_time, a_changed_file, a_newer_database, a_broken_file);

type Files = &'static [(&'static str, &'static str)];

const ONE: (&str, &str) = ("0001_boxes.sql", "CREATE TABLE boxes (id TEXT PRIMARY KEY);\n-- a; comment\nINSERT INTO boxes VALUES ('a');");
const TWO: (&str, &str) = ("0002_more.sql", "INSERT INTO boxes VALUES ('b'); ALTER TABLE boxes ADD COLUMN n INTEGER NOT NULL DEFAULT 0;");

fn set(files: Files) -> Migrations {
    Migrations { owner: "boxes", sqlite: files, postgres: files }
}

async fn boxes(db: &store::Db) -> Vec<String> {
    let mut ids = db.read().texts("boxes", "id", Cond::True).await.expect("reading");
    ids.sort();
    ids
}

async fn twice(rig: Rig) {
    let db = rig.bare().await;
    db.migrate(&set(&[ONE])).await.unwrap();
    db.migrate(&set(&[ONE])).await.unwrap();
    assert_eq!(boxes(&db).await, ["a"]);
    let again = rig.bare().await;
    again.migrate(&set(&[ONE, TWO])).await.unwrap();
    assert_eq!(boxes(&db).await, ["a", "b"]);
    // Owners do not get in each other's way.
    let other = Migrations { owner: "other", ..set(&[("0001_x.sql", "CREATE TABLE x (id TEXT PRIMARY KEY);")]) };
    db.migrate(&other).await.unwrap();
    assert_eq!(db.read().count("schema_migrations", Cond::eq("owner", "boxes")).await.unwrap(), 2);
}

async fn at_the_same_time(rig: Rig) {
    let mut all = JoinSet::new();
    for _ in 0..8 {
        let url = rig.url.clone();
        all.spawn(async move {
            let db = store::Db::open(&url).await?;
            db.migrate(&set(&[ONE, TWO])).await?;
            Ok::<_, base::Error>(db)
        });
    }
    for done in all.join_all().await {
        let db = done.unwrap_or_else(|e| panic!("{e} {:?}", e.context()));
        assert_eq!(boxes(&db).await, ["a", "b"]);
    }
}

async fn a_changed_file(rig: Rig) {
    let db = rig.bare().await;
    db.migrate(&set(&[ONE])).await.unwrap();
    let e = db.migrate(&set(&[("0001_boxes.sql", "CREATE TABLE boxes (id TEXT PRIMARY KEY);"), TWO])).await.expect_err("changed");
    assert!(e.context().unwrap().contains("0001_boxes.sql of boxes was changed after"), "{:?}", e.context());
    assert_eq!(boxes(&db).await, ["a"], "nothing later was applied");
}

async fn a_newer_database(rig: Rig) {
    let db = rig.bare().await;
    db.migrate(&set(&[ONE, TWO])).await.unwrap();
    let e = db.migrate(&set(&[ONE])).await.expect_err("older");
    assert!(e.context().unwrap().contains("migration 2 of boxes"), "{:?}", e.context());
    for bad in [&[("boxes.sql", "")][..], &[TWO, ONE], &[ONE, ONE]] {
        let e = db.migrate(&set(bad)).await.expect_err("bad names");
        assert!(e.context().unwrap().contains("of boxes"), "{:?}", e.context());
    }
}

async fn a_broken_file(rig: Rig) {
    let db = rig.bare().await;
    const BROKEN: (&str, &str) = ("0002_more.sql", "INSERT INTO boxes VALUES ('half'); INSERT INTO nowhere VALUES (1);");
    let e = db.migrate(&set(&[ONE, BROKEN])).await.expect_err("broken");
    assert!(e.context().unwrap().contains("migration 0002_more.sql of boxes"), "{:?}", e.context());
    assert_eq!(boxes(&db).await, ["a"], "the half is gone");
    db.migrate(&set(&[ONE, TWO])).await.expect("a better file takes its place, as it was never applied");
    assert_eq!(boxes(&db).await, ["a", "b"]);
}
