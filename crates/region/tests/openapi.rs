//! The document the command line and other clients are made from. `WOLKE_GOLDEN=write` writes it anew; the difference is the change.

use base::{Clock, Ctx, Result, err};
use region::{Image, Images, Parts, Region, Settings};
use resource::{Ask, BoxFuture, FixedOwners, Gate};
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

impl Images for Nobody {
    fn find<'a>(&'a self, _: &'a Ctx, which: &'a str) -> BoxFuture<'a, Result<Image>> {
        Box::pin(async move { Err(err!(ImageNotFound, "{} {} not found", "image", which)) })
    }
    fn fetch<'a>(&'a self, id: &'a str, _: Option<&'a str>) -> BoxFuture<'a, Result<http::Response>> {
        Box::pin(async move { Err(err!(ImageNotFound, "{} {} not found", "image", id)) })
    }
}

#[tokio::test]
async fn the_document_is_the_one_in_the_tree() {
    let parts = Parts {
        db: store::Db::open("sqlite::memory:").await.expect("a database"),
        clock: Clock::real(),
        gate: Arc::new(Nobody),
        owners: Arc::new(FixedOwners::default()),
        images: Arc::new(Nobody),
        settings: Settings::default(),
        seal: Arc::new(auth::Seal::new(&"11".repeat(32), "compute").expect("a key")),
        options: resource::Options::default(),
        node: "test".into(),
        own_url: String::new(),
    };
    let region = Region::build(parts).await.expect("the service starts");
    let text = serde_json::to_string_pretty(&region.engine.openapi("", "0")).expect("a document") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi/compute.json");
    if std::env::var("WOLKE_GOLDEN").as_deref() == Ok("write") {
        std::fs::write(&path, &text).expect("the tree can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "the API has changed: look at it with WOLKE_GOLDEN=write and git diff docs/openapi");
}
