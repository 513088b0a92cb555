//! The document the command line and other clients are made from. `WOLKE_GOLDEN=write` writes it anew; the difference is the change.

use glance::{Glance, Options};
use resource::{Ask, FixedOwners, Gate};
use std::{path::Path, sync::Arc};

struct Nobody;

impl Gate for Nobody {
    fn widest(&self, _: &base::Caller, _: Option<std::net::IpAddr>, _: &Ask<'_>) -> base::Scope {
        base::Scope::None
    }
    fn allows(&self, _: &base::Caller, _: Option<std::net::IpAddr>, _: &Ask<'_>, _: base::Scope) -> bool {
        false
    }
}

#[tokio::test]
async fn the_document_is_the_one_in_the_tree() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let db = store::Db::open("sqlite::memory:").await.expect("a database");
    let options = Options::new(dir.path().join("images"));
    let glance = Glance::open(db, Arc::new(Nobody), Arc::new(FixedOwners::default()), options).await.expect("the service opens");
    let text = serde_json::to_string_pretty(&glance.openapi("0")).expect("a document") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi/image.json");
    if std::env::var("WOLKE_GOLDEN").as_deref() == Ok("write") {
        std::fs::write(&path, &text).expect("the tree can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "the API has changed: look at it with WOLKE_GOLDEN=write and git diff docs/openapi");
}
