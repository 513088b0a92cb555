//! The migrations make the tables that the facts describe, on both databases. `DRAFT=1` prints the tables as the facts want them.

use api_image::{Image, SubImage};
use base::Resource;
use store::{Db, Dialect, ddl};

async fn check(db: &Db) {
    db.migrate(&resource::MIGRATIONS).await.expect("the engine's tables");
    db.migrate(&glance::MIGRATIONS).await.expect("the service's tables");
    for facts in [Image::facts(), SubImage::facts()] {
        if std::env::var_os("DRAFT").is_some() {
            for dialect in [Dialect::Sqlite, Dialect::Postgres] {
                println!("{}", ddl::create_table(facts, dialect));
            }
        }
        assert_eq!(ddl::check(db, facts).await.expect("readable"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn sqlite() {
    check(&store::testing::sqlite().await).await;
}

#[tokio::test]
async fn postgres() {
    check(&store::testing::postgres().await).await;
}
