//! Rows in and out: every kind, conditions, keys.

use crate::fixture::{Crate, Rig, both, new, row};
use base::{Class, Json, Resource, Timestamp, Value};
use serde_json::json;
use store::{Cond, Match, Op, Order, Pick, Read, Select, add, set, work};

both!(
    kinds_come_back,
    text_is_matched_literally,
    long_lists,
    null_is_neither,
    nulls_come_first,
    taken_keys,
    insert_or_not,
    sums_and_groups,
    save_writes_what_changed,
    spoilt_stays_spoilt,
    statements_are_counted,
    zero_character_is_refused,
    page_cuts
);

async fn put(db: &store::Db, crates: &[Crate]) {
    db.tx(|tx| {
        work(async move {
            for one in crates {
                tx.insert(&one.to_row()).await?;
            }
            Ok(())
        })
    })
    .await
    .expect("inserting");
}

async fn ids(db: &store::Db, cond: Cond) -> Vec<String> {
    let mut ids = db.read().texts("crates", "id", cond).await.expect("reading");
    ids.sort();
    ids
}

async fn kinds_come_back(rig: Rig) {
    let db = rig.open().await;
    let full = Crate {
        place: Some(i64::MIN),
        used: i64::MAX,
        weight: 0.1,
        lid: Some(-1e300),
        open: true,
        heavy: Some(false),
        order_: "naïve '\"`\\ 中文 \u{1F4E6}".into(),
        remark: Some(String::new()),
        labels: json!({"a": [1, 2.5, null, "x"], "ü": {}}),
        created_at: Timestamp(-1),
        sealed_at: Some(Timestamp(1_770_091_506_789_012)),
        ..new("full")
    };
    let empty = new("empty");
    put(&db, &[full.clone(), empty.clone()]).await;
    assert_eq!(db.read().get::<Crate>("full").await.unwrap().unwrap(), full);
    assert_eq!(db.read().get::<Crate>("empty").await.unwrap().unwrap(), empty);
    assert_eq!(db.read().get::<Crate>("none").await.unwrap(), None);
    let row = db.read().one(Crate::facts(), "empty").await.unwrap().unwrap();
    assert_eq!(row.get("remark"), &Value::Null);
    assert_eq!(row.get("labels"), &Value::Json(Json::Null));
}

async fn text_is_matched_literally(rig: Rig) {
    let db = rig.open().await;
    let names = ["100%", "100x", "a_b", "aXb", "back\\slash", "Case", "end\\"];
    put(&db, &names.iter().enumerate().map(|(i, n)| Crate { name: n.to_string(), ..new(&i.to_string()) }).collect::<Vec<_>>()).await;
    let found = async |how, text: &str| {
        let ids = ids(&db, Cond::Text("name".into(), how, text.into())).await;
        ids.iter().map(|id| names[id.parse::<usize>().unwrap()]).collect::<Vec<_>>()
    };
    assert_eq!(found(Match::Contains, "0%").await, ["100%"]);
    assert_eq!(found(Match::Contains, "_").await, ["a_b"]);
    assert_eq!(found(Match::Starts, "A_").await, ["a_b"]);
    assert_eq!(found(Match::Contains, "\\").await, ["back\\slash", "end\\"]);
    assert_eq!(found(Match::Ends, "\\").await, ["end\\"]);
    assert_eq!(found(Match::Contains, "cASE").await, ["Case"]);
    assert_eq!(found(Match::Like, "a_b").await, ["a_b", "aXb"]);
    assert_eq!(found(Match::Like, "%\\%").await, ["100%"]);
    // A lone backslash at the end of a caller's pattern stands for itself.
    assert_eq!(found(Match::Like, "end\\").await, ["end\\"]);
    assert_eq!(found(Match::Contains, "'; DROP TABLE crates; --").await, [""; 0]);
    let long = db.read().count("crates", Cond::Text("name".into(), Match::Contains, "x".repeat(100_000))).await;
    assert_eq!(long.expect_err("too long").class(), Class::InputParameter);
}

async fn long_lists(rig: Rig) {
    let db = rig.open().await;
    let some = ["7", "500", "49999"].map(|id| Crate {
        place: id.parse().ok(),
        used: id.parse().unwrap(),
        open: id == "7",
        weight: 0.5,
        ..new(id)
    });
    put(&db, &some).await;
    let numbers = 0..50_000_i64;
    assert_eq!(ids(&db, Cond::is_in("id", numbers.clone().map(|n| n.to_string()))).await, ["49999", "500", "7"]);
    assert_eq!(ids(&db, Cond::is_in("used", numbers.clone())).await.len(), 3);
    assert_eq!(ids(&db, Cond::is_in("place", (0..9).chain([500]).map(Some))).await, ["500", "7"]);
    assert_eq!(ids(&db, Cond::is_in("id", ["7", "500", "x"])).await, ["500", "7"]);
    assert_eq!(ids(&db, Cond::is_in("open", [true; 20])).await, ["7"]);
    assert_eq!(ids(&db, Cond::is_in("weight", [0.5; 20])).await.len(), 3);
    assert_eq!(ids(&db, Cond::is_in::<&str>("id", [])).await, [""; 0]);
    assert_eq!(ids(&db, Cond::is_in::<&str>("id", []).not()).await.len(), 3);
    assert_eq!(ids(&db, Cond::is_in("id", [None, Some("7")])).await, ["7"]);
    assert_eq!(ids(&db, Cond::is_in("id", numbers.map(|n| n.to_string())).not()).await.len(), 0);
    let open = Select::from("crates").column("id", base::Kind::Text).filter(Cond::eq("open", true));
    assert_eq!(ids(&db, Cond::in_select("id", open)).await, ["7"]);
}

async fn null_is_neither(rig: Rig) {
    let db = rig.open().await;
    put(&db, &[new("null"), Crate { place: Some(1), ..new("one") }, Crate { place: Some(2), ..new("two") }]).await;
    assert_eq!(ids(&db, Cond::eq("place", 1)).await, ["one"]);
    assert_eq!(ids(&db, Cond::ne("place", 1)).await, ["two"], "a comparison with NULL is false");
    assert_eq!(ids(&db, Cond::eq("place", 1).not()).await, ["null", "two"], "and its opposite true");
    assert_eq!(ids(&db, Cond::eq("place", Value::Null)).await, [""; 0]);
    assert_eq!(ids(&db, Cond::IsNull("place".into())).await, ["null"]);
    assert_eq!(ids(&db, Cond::And(vec![])).await.len(), 3);
    assert_eq!(ids(&db, Cond::Or(vec![])).await.len(), 0);
    let either = Cond::eq("place", 1).or(Cond::IsNull("place".into())).and(Cond::CmpCol("used".into(), Op::Lt, "capacity".into()));
    assert_eq!(ids(&db, either).await, ["null", "one"]);
}

async fn nulls_come_first(rig: Rig) {
    let db = rig.open().await;
    put(&db, &[Crate { place: Some(2), ..new("b") }, new("n"), Crate { place: Some(1), ..new("a") }]).await;
    for (order, want) in [(Order::asc("place"), ["n", "a", "b"]), (Order::desc("place"), ["b", "a", "n"])] {
        let page = db.read().page(Crate::facts(), Cond::True, vec![order.clone()], 10, 0).await.unwrap();
        assert_eq!(page.iter().map(|r| r.id()).collect::<Vec<_>>(), want);
        let bare = Select::from("crates").column("id", base::Kind::Text).order(order);
        let rows = db.read().rows(&bare).await.unwrap();
        assert_eq!(rows.iter().map(|r| r[0].as_str()).collect::<Vec<_>>(), want);
    }
}

async fn taken_keys(rig: Rig) {
    let db = rig.open().await;
    put(&db, &[Crate { place: Some(1), ..new("a") }, new("b")]).await;
    let clash = async |one: Crate| {
        let one = &one.to_row();
        db.tx(|tx| work(tx.insert(one))).await.expect_err("a clash")
    };
    let e = clash(Crate { name: "other".into(), ..new("a") }).await;
    assert_eq!((e.class(), e.args()), (Class::DuplicateId, &["crate".to_string(), "a".to_string()][..]));
    let e = clash(Crate { name: "crate-a".into(), ..new("c") }).await;
    assert_eq!((e.class(), e.to_string().as_str()), (Class::DuplicateName, "a crate named crate-a exists already; choose another name"));
    assert_eq!(clash(Crate { place: Some(1), ..new("c") }).await.class(), Class::DuplicateResource);
    let old = db.read().one(Crate::facts(), "b").await.unwrap().unwrap();
    let old = &old;
    let renamed = db.tx(|tx| {
        work(async move {
            let mut new = old.clone();
            new.set("name", "crate-a");
            tx.save(old, &mut new).await
        })
    });
    assert_eq!(renamed.await.expect_err("a clash").class(), Class::DuplicateName);
    let e = db.tx(|tx| work(tx.insert_into("crates", vec![("id".into(), "d".into()), ("name".into(), "crate-b".into())]))).await;
    assert_eq!(e.expect_err("a clash").class(), Class::DuplicateName);
}

async fn insert_or_not(rig: Rig) {
    let db = rig.open().await;
    put(&db, &[new("a")]).await;
    let cols = |name: &str, used: i64| vec![("id".into(), "u".into()), ("name".into(), Value::from(name)), ("used".into(), used.into())];
    db.tx(|tx| {
        work(async move {
            assert!(!tx.try_insert(&row("a")).await?);
            assert!(!tx.try_insert(&Crate { name: "crate-a".into(), ..new("b") }.to_row()).await?);
            assert!(tx.try_insert(&row("b")).await?, "the transaction goes on after a clash");
            tx.upsert("crates", &["id"], cols("first", 1)).await?;
            tx.upsert("crates", &["id"], cols("second", 2)).await?;
            tx.upsert("crates", &["id"], vec![("id".into(), "u".into())]).await?;
            let null =
                vec![("id".into(), "n".into()), ("place".into(), Value::Null), ("lid".into(), Value::Null), ("name".into(), "n".into())];
            tx.insert_into("crates", null).await
        })
    })
    .await
    .unwrap();
    let u: Crate = db.read().get("u").await.unwrap().unwrap();
    assert_eq!((u.name.as_str(), u.used), ("second", 2));
    assert_eq!(ids(&db, Cond::True).await, ["a", "b", "n", "u"]);
}

async fn sums_and_groups(rig: Rig) {
    let db = rig.open().await;
    put(&db, &[1, 2, 3].map(|n| Crate { used: n, open: n > 1, place: Some(n * 10), ..new(&n.to_string()) })).await;
    assert_eq!(db.read().sum("crates", "used", Cond::True).await.unwrap(), 6);
    assert_eq!(db.read().sum("crates", "used", Cond::False).await.unwrap(), 0);
    assert_eq!(db.read().count("crates", Cond::eq("open", true)).await.unwrap(), 2);
    assert!(db.read().exists("crates", Cond::eq("used", 3)).await.unwrap());
    assert!(!db.read().exists("crates", Cond::eq("used", 4)).await.unwrap());
    assert_eq!(db.read().scalar_text("crates", "name", Cond::eq("used", 3)).await.unwrap().as_deref(), Some("crate-3"));
    let q =
        Select::from("crates").column("open", base::Kind::Bool).pick(Pick::Count).pick(Pick::SumProduct("used".into(), "capacity".into()));
    let q = q.pick(Pick::Max("place".into(), base::Kind::Int)).pick(Pick::Min("name".into(), base::Kind::Text));
    let rows = db.read().rows(&q.group_by("open").order(Order::desc("open"))).await.unwrap();
    let want = |open: bool, count: i64, product: i64, max: i64, min: &str| -> Vec<Value> {
        vec![open.into(), count.into(), product.into(), max.into(), min.into()]
    };
    assert_eq!(rows, [want(true, 2, 50, 30, "crate-2"), want(false, 1, 10, 10, "crate-1")]);
    let distinct = Select { distinct: true, ..Select::from("crates").column("capacity", base::Kind::Int) };
    assert_eq!(db.read().rows(&distinct).await.unwrap(), [vec![Value::Int(10)]]);
    // What one database would answer at random, neither does.
    let loose = Select::from("crates").column("id", base::Kind::Text).pick(Pick::Count);
    assert_eq!(db.read().rows(&loose).await.expect_err("ungrouped").class(), Class::Internal);
    let blind = Select { distinct: true, ..Select::from("crates").column("capacity", base::Kind::Int).order(Order::asc("id")) };
    assert_eq!(db.read().rows(&blind).await.expect_err("unpicked").class(), Class::Internal);
}

async fn save_writes_what_changed(rig: Rig) {
    let clock = base::Clock::manual(Timestamp(1_000_000));
    let db = rig.open_with(clock.clone()).await;
    put(&db, &[new("a")]).await;
    clock.advance(std::time::Duration::from_secs(1));
    let old = db.read().one(Crate::facts(), "a").await.unwrap().unwrap();
    let old = &old;
    let saved = db
        .tx(|tx| {
            work(async move {
                // Another column changes meanwhile, without a version: it must survive.
                tx.update("crates", Cond::eq("id", "a"), vec![add("used", 3), set("remark", "kept")]).await?;
                let mut new = old.clone();
                tx.save(old, &mut new).await?;
                assert_eq!(new.int("update_version"), 0, "nothing differs, nothing is written");
                new.set("lid", 2.5);
                new.set("labels", json!(["x"]));
                tx.save(old, &mut new).await?;
                Ok(new)
            })
        })
        .await
        .unwrap();
    assert_eq!((saved.int("update_version"), saved.get("updated_at")), (1, &Value::Time(Timestamp(2_000_000))));
    let now: Crate = db.read().get("a").await.unwrap().unwrap();
    assert_eq!((now.lid, now.used, now.remark.as_deref(), now.update_version), (Some(2.5), 3, Some("kept"), 1));
    assert_eq!((now.labels, now.updated_at), (json!(["x"]), Timestamp(2_000_000)));
    let gone = db.tx(|tx| work(tx.delete("crates", Cond::eq("id", "a")))).await.unwrap();
    assert_eq!(gone, 1);
}

async fn spoilt_stays_spoilt(rig: Rig) {
    let db = rig.open().await;
    let done = db
        .tx(|tx| {
            work(async move {
                tx.insert(&row("a")).await?;
                let twin = Crate { name: "twin".into(), ..new("a") }.to_row();
                assert_eq!(tx.insert(&twin).await.expect_err("twice").class(), Class::DuplicateId);
                assert_eq!(tx.count("crates", Cond::True).await.expect_err("spoilt").class(), Class::Internal);
                Ok(())
            })
        })
        .await;
    assert_eq!(done.expect_err("the body swallowed an error").class(), Class::Internal);
    assert_eq!(ids(&db, Cond::True).await, [""; 0]);
}

async fn statements_are_counted(rig: Rig) {
    let db = rig.open().await;
    let before = db.queries();
    db.tx(|tx| {
        work(async move {
            tx.insert(&row("a")).await?;
            tx.count("crates", Cond::True).await
        })
    })
    .await
    .unwrap();
    db.read().get::<Crate>("a").await.unwrap();
    assert_eq!(db.queries() - before, 3);
}

async fn zero_character_is_refused(rig: Rig) {
    let db = rig.open().await;
    let bad = &Crate { order_: "a\0b".into(), ..new("a") }.to_row();
    assert_eq!(db.tx(|tx| work(tx.insert(bad))).await.expect_err("zero").class(), Class::InputParameter);
    assert_eq!(db.read().count("crates", Cond::eq("name", "a\0")).await.expect_err("zero").class(), Class::InputParameter);
    let column = db.read().count("crates", Cond::eq("name\" = '' OR 1=1 --", "x")).await;
    assert_eq!(column.expect_err("not a column").class(), Class::InputParameter);
}

async fn page_cuts(rig: Rig) {
    let db = rig.open().await;
    put(&db, &(0..25).map(|n| new(&format!("{n:02}"))).collect::<Vec<_>>()).await;
    let page = async |limit: Option<u64>, offset| {
        let q = Select { limit, offset, ..Select::from("crates").column("id", base::Kind::Text).order(Order::asc("id")) };
        db.read().rows(&q).await.unwrap().iter().map(|r| r[0].as_str().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(page(Some(2), 10).await, ["10", "11"]);
    assert_eq!(page(Some(10), 24).await, ["24"]);
    assert_eq!(page(None, 23).await, ["23", "24"]);
    assert_eq!(page(Some(0), 0).await.len(), 0);
    assert_eq!(page(Some(u64::MAX), u64::MAX).await.len(), 0);
    assert_eq!(page(None, 0).await.len(), 25);
}
