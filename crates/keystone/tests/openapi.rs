//! The document the command line and other clients are made from. `WOLKE_GOLDEN=write` writes it anew; the difference is the change.

use base::Clock;
use keystone::Config;
use std::path::Path;

#[tokio::test]
async fn the_document_is_the_one_in_the_tree() {
    let config = Config {
        secret_key: api_identity::Secret::new("0123456789abcdef".repeat(4)),
        password_hash_memory_kib: 64,
        password_hash_passes: 1,
        ..Config::default()
    };
    let db = store::Db::open("sqlite::memory:").await.expect("a database");
    let keystone = keystone::build(config, db, Clock::real()).await.expect("the service starts");
    let text = serde_json::to_string_pretty(&keystone.engine.openapi("", "0")).expect("a document") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi/identity.json");
    if std::env::var("WOLKE_GOLDEN").as_deref() == Ok("write") {
        std::fs::write(&path, &text).expect("the tree can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "the API has changed: look at it with WOLKE_GOLDEN=write and git diff docs/openapi");
}
