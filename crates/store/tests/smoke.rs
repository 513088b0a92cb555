use base::{Json, Resource, Row, Timestamp, Value};
use store::{Change, ChangeOp, Cond, Dialect, Migrations, Order, Read, ddl, work};

#[derive(Clone, Debug, Default, base::Resource)]
#[resource(name = "pet", plural = "pets", service = "test", level = system)]
/// A pet.
struct Pet {
    #[field(flatten)]
    meta: base::meta::Standalone,
    /// Weight.
    weight: f64,
    /// Seen.
    seen: Option<Timestamp>,
    /// Tags.
    tags: Json,
}

#[tokio::test]
async fn smoke() {
    let db = store::testing::sqlite().await;
    let ddl: &'static str = Box::leak(ddl::create_table(Pet::facts(), Dialect::Sqlite).into_boxed_str());
    let files: &'static [(&str, &str)] = Box::leak(vec![("0001_x.sql", ddl)].into_boxed_slice());
    db.migrate(&Migrations { owner: "test", sqlite: files, postgres: files }).await.unwrap();
    assert_eq!(ddl::check(&db, Pet::facts()).await.unwrap(), Vec::<String>::new());
    let mut row = Row::new::<Pet>();
    row.set("id", "1");
    row.set("name", "x");
    let (row, start) = (&row, db.feed().head().await.unwrap());
    db.tx(|tx| {
        work(async move {
            tx.insert(row).await?;
            tx.emit(Change {
                kind: "pet".into(),
                id: "1".into(),
                op: ChangeOp::Create,
                version: 0,
                domain_id: "".into(),
                project_id: "".into(),
                data: Json::Null,
            })
            .await?;
            let mut new = tx.one(Pet::facts(), "1").await?.unwrap();
            let old = new.clone();
            new.set("weight", 2.5);
            tx.save(&old, &mut new).await
        })
    })
    .await
    .unwrap();
    let pet: Pet = db.read().get("1").await.unwrap().unwrap();
    assert_eq!((pet.weight, pet.meta.update_version), (2.5, 1));
    let page = db.read().page(Pet::facts(), Cond::True, vec![Order::desc("name")], 10, 0).await.unwrap();
    assert_eq!(page[0].get("seen"), &Value::Null);
    let batch = db.feed().after(start, 10).await.unwrap();
    assert_eq!(batch.changes.len(), 1);
}
