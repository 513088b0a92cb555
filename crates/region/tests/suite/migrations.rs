//! The tables are what the facts say, on both databases. `WOLKE_GOLDEN=write` drafts the first files anew.

use std::path::Path;
use store::Dialect;

#[test]
fn draft() {
    if std::env::var("WOLKE_GOLDEN").as_deref() != Ok("write") {
        return;
    }
    for (dialect, dir) in [(Dialect::Sqlite, "sqlite"), (Dialect::Postgres, "postgres")] {
        let mut text: String = region::facts().iter().map(|f| store::ddl::create_table(f, dialect)).collect::<Vec<_>>().join("\n");
        let no = if dialect == Dialect::Sqlite { "0" } else { "false" };
        text.push_str(&include_str!("indexes.sql").replace("{false}", no));
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dir).join("0001_init.sql"), text)
            .expect("the tree can be written");
    }
}

async fn agrees(db: store::Db) {
    for set in [&resource::MIGRATIONS, &task::MIGRATIONS, &region::MIGRATIONS] {
        db.migrate(set).await.unwrap();
    }
    for facts in region::facts() {
        assert_eq!(store::ddl::check(&db, facts).await.unwrap(), Vec::<String>::new(), "{}", facts.table);
    }
}

#[tokio::test]
async fn the_tables_are_the_facts() {
    agrees(store::Db::open("sqlite::memory:").await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_the_tables_are_the_facts() {
    agrees(store::testing::postgres().await).await;
}
