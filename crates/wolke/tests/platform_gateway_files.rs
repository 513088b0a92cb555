//! Lists as files through the gateway: people's spreadsheets in, tables out, however long. Another program than ours writes and reads the books.

mod lab;

use base::Value;
use http::Method;
use lab::browser::{Browser, PASSWORD, platform, user};
use serde_json::{Value as Json, json};
use std::{collections::HashSet, path::Path, process::Command};
use store::{Cond, Db, Name, Read, work};

/// More than two pages of an export.
const MANY: i64 = 1100;

/// Runs lines of Python with openpyxl; answers what they print.
fn python(script: &str, args: &[&str]) -> String {
    // Debian's own: the package is there.
    let out = Command::new("/usr/bin/python3").args(["-c", script]).args(args).output().expect("/usr/bin/python3");
    assert!(out.status.success(), "{} (Debian package python3-openpyxl)", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

/// Rows of a book's sheet.
fn rows(book: &Path) -> Vec<Vec<Json>> {
    let script = "import json, sys, openpyxl\n\
                  sheet = openpyxl.load_workbook(sys.argv[1], read_only=True).worksheets[0]\n\
                  print(json.dumps([[c if c is not None else '' for c in row] for row in sheet.iter_rows(values_only=True)]))";
    serde_json::from_str(&python(script, &[&book.display().to_string()])).expect("rows")
}

async fn upload(browser: &mut Browser, action: &str, field: &str, file: &[u8]) -> (u16, Json) {
    let mut form = format!("--xYx\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\n{action}\r\n").into_bytes();
    form.extend(format!("--xYx\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"l.xlsx\"\r\n\r\n").bytes());
    form.extend(file);
    form.extend(b"\r\n--xYx--\r\n");
    let call = browser.call(Method::POST, "/api/v1/uploads").header("content-type", "multipart/form-data; boundary=xYx").bytes(form);
    let (status, bytes) = browser.take(call).await;
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn platform_gateway_lists() {
    let (platform, mut admin) = platform(&[]).await;
    let (status, template) = admin.take(admin.call(Method::GET, "/api/v1/downloads/BatchUserRegister")).await;
    assert_eq!(status, 200);
    assert!(format!("{:?}", admin.headers).contains("attachment; filename=template.xlsx"), "{:?}", admin.headers);
    let at = |name: &str| platform.dir.path().join(name);
    std::fs::write(at("template.xlsx"), &template).expect("written");
    assert_eq!(rows(&at("template.xlsx"))[0], ["*user", "*password", "displayname", "*domain", "*allow_web_console (true, false)"]);
    let filled = |rows: Json| {
        let script = "import json, sys, openpyxl\n\
                      book = openpyxl.load_workbook(sys.argv[1])\n\
                      for row in json.loads(sys.argv[3]): book['users'].append(row)\n\
                      book.save(sys.argv[2])";
        python(script, &[&at("template.xlsx").display().to_string(), &at("list.xlsx").display().to_string(), &rows.to_string()]);
        std::fs::read(at("list.xlsx")).expect("a book")
    };

    let list = filled(json!([
        ["ann", PASSWORD, "Ann Example", "Default", true],
        ["云", "short", null, "Default", "false"],
        [],
        ["bob", PASSWORD, "", "default", 1]
    ]));
    assert_eq!(upload(&mut admin, "BatchUserRegister", "users", &list).await, (200, json!({})));
    for (name, shown, web) in [("ann", "Ann Example", true), ("云", "云", false), ("bob", "bob", true)] {
        let found = admin.get(&format!("/api/v1/users?name={}", http::path::encode(name))).await;
        let row = &found["data"][0];
        assert_eq!(
            (&row["displayname"], &row["allow_web_console"], &row["enabled"]),
            (&json!(shown), &json!(web), &json!(true)),
            "{found}"
        );
    }
    let mut ann = Browser::new(&platform.url());
    assert_eq!(ann.login("ann", PASSWORD).await.0, 200);
    // Once more with one more: who is there stays as he is.
    let more = filled(json!([["ann", "Another-horse-8", "Other", "Default", "true"], ["cid", PASSWORD, "", "Default", "false"]]));
    assert_eq!(upload(&mut admin, "BatchUserRegister", "users", &more).await, (200, json!({})));
    assert_eq!(admin.get("/api/v1/users?name=ann").await["data"][0]["displayname"], "Ann Example");
    assert_eq!(admin.get("/api/v1/users?name=cid").await["total"], 1);

    // What is wrong is named, and then nobody is made.
    for (rows, word) in [
        (json!([["eve", PASSWORD, "", "Default", "true"], ["", PASSWORD, "", "Default"]]), "row 3: user"),
        (json!([["eve", PASSWORD, "", "nowhere", "true"]]), "nowhere"),
        (json!([]), "empty"),
    ] {
        let (status, body) = upload(&mut admin, "BatchUserRegister", "users", &filled(rows)).await;
        assert!(status == 400 && body["details"].as_str().is_some_and(|d| d.contains(word)), "{word}: {status} {body}");
    }
    assert_eq!(admin.get("/api/v1/users?name=eve").await["data"], json!([]));
    for (action, field, file, want) in [
        ("BatchUserRegister", "users", &b"user,password\n"[..], 400),
        ("BatchUserRegister", "hosts", &list[..], 400),
        ("", "users", &list[..], 400),
        ("BatchDance", "users", &list[..], 400),
        ("BatchHostRegister", "hosts", &list[..], 406),
        ("BatchUserRegister", "users", &vec![b'P'; 5 << 20][..], 413),
    ] {
        let (status, body) = upload(&mut admin, action, field, file).await;
        assert_eq!(status, want, "{action} {field}: {body}");
    }
    // With one's own rights: how each fared.
    user(&mut admin, "mallory", "project_owner").await;
    let mut mallory = Browser::new(&platform.url());
    assert_eq!(mallory.login("mallory", PASSWORD).await.0, 200);
    let (status, body) =
        upload(&mut mallory, "BatchUserRegister", "users", &filled(json!([["eve", PASSWORD, "", "Default", "true"]]))).await;
    assert!(status == 207 && body["data"][0]["status"] == 403 && body["data"][0]["id"] == "eve", "{status} {body}");
    assert_eq!(admin.get("/api/v1/users?name=eve").await["data"], json!([]));

    // What has no service here says so.
    for (method, path) in [
        (Method::POST, "/api/v1/s3uploads"),
        (Method::GET, "/api/v1/_raw/pods/web"),
        (Method::DELETE, "/api/v1/_raw/pods/web/yaml"),
        (Method::GET, "/api/v1/downloads/BatchHostISORegister"),
    ] {
        let (status, body) = admin.send(method, path, None).await;
        assert!(status == 406 && body["details"].as_str().is_some_and(|d| d.contains("no service for")), "{path}: {status} {body}");
    }
}

#[tokio::test]
async fn platform_gateway_exports() {
    let (platform, mut admin) = platform(&[]).await;
    let db = Db::open(&format!("sqlite://{}", platform.data().join("compute.db").display())).await.expect("the region's database");
    // An audit log and a table of more pages than one, written behind the platform's back: it is their length that matters.
    db.tx(|tx| {
        work(async move {
            for n in 0..MANY {
                let texts = [
                    "obj_type",
                    "notes",
                    "user_id",
                    "user",
                    "domain_id",
                    "domain",
                    "tenant_id",
                    "tenant",
                    "project_domain_id",
                    "project_domain",
                    "roles",
                    "owner_domain_id",
                    "owner_tenant_id",
                    "request_id",
                    "ip",
                ];
                let mut columns: Vec<(Name, Value)> = texts.map(|name| (name.into(), "x".into())).to_vec();
                columns.extend([("obj_id".into(), format!("o{n}").into()), ("obj_name".into(), format!("=n{n}").into())]);
                columns.extend([("action".into(), "tried".into()), ("ops_time".into(), tx.now().into())]);
                tx.insert_into("events", columns).await?;
            }
            Ok(())
        })
    })
    .await
    .expect("written");
    let (status, bytes) = admin
        .take(admin.call(
            Method::GET,
            "/api/v1/events?export=csv&export_keys=id,obj_id,obj_name&scope=system&action=tried&filter=action.equals(tried)",
        ))
        .await;
    let text = String::from_utf8(bytes).expect("text");
    let ids: HashSet<&str> = text.lines().skip(1).filter_map(|l| l.split(',').nth(1)).collect();
    assert_eq!((status, text.lines().count() as i64, ids.len() as i64), (200, MANY + 1, MANY), "each once, to the end");
    assert!(text.contains(",\"'=n7\"\r\n"));

    // Rows with numbers: more than one page of them too.
    let made = futures_util::future::join_all((0..520).map(|n| {
        let call = admin.call(Method::POST, "/api/v1/zones").json(&json!({"name": format!("z{n:03}")}));
        async move { call.send_any().await.expect("an answer").status }
    }))
    .await;
    assert!(made.iter().all(|status| *status == 200), "{made:?}");
    let mut count = &db;
    let zones = count.count("zones", Cond::eq("deleted", false)).await.expect("zones");
    assert!(zones > 520);
    let wish = "export_keys=name,id,metadata.nothing&export_texts=Name,Id,Nothing&filter=name.startswith(z)&order_by=name&order=asc";
    let (status, bytes) = admin.take(admin.call(Method::GET, &format!("/api/v1/zones?export=csv&{wish}"))).await;
    let text = String::from_utf8(bytes).expect("text");
    let names: Vec<&str> = text.lines().skip(1).filter_map(|l| l.split(',').next()).collect();
    assert_eq!((status, names.len() as i64), (200, zones));
    assert!(names.is_sorted() && text.starts_with("\u{feff}Name,Id,Nothing\r\n"), "{}", &text[..100]);
    let (status, bytes) = admin.take(admin.call(Method::GET, &format!("/api/v1/zones?export=xlsx&{wish}"))).await;
    assert_eq!(status, 200);
    let book = platform.dir.path().join("zones.xlsx");
    std::fs::write(&book, &bytes).expect("written");
    let read = rows(&book);
    assert_eq!((read.len() as i64, &read[0]), (zones + 1, &vec![json!("Name"), json!("Id"), json!("Nothing")]));
    let same = read[1..].iter().zip(&names).all(|(row, name)| row[0] == **name);
    assert!(same, "the same rows in the same order");
    for wish in ["export=pdf&export_keys=name", "export=csv", "export=csv&export_keys="] {
        assert_eq!(admin.send(Method::GET, &format!("/api/v1/zones?{wish}"), None).await.0, 400, "{wish}");
    }
    user(&mut admin, "mallory", "project_owner").await;
    let mut mallory = Browser::new(&platform.url());
    assert_eq!(mallory.login("mallory", PASSWORD).await.0, 200);
    let (status, bytes) = mallory.take(mallory.call(Method::GET, "/api/v1/events?export=csv&export_keys=id,action")).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(status == 403 || !text.contains("tried"), "{status}: only what one may see");
}

/// An image over a line that breaks: it goes on where it was, for its user only.
#[tokio::test]
async fn platform_gateway_image_in_pieces() {
    let (platform, mut admin) = platform(&[]).await;
    user(&mut admin, "bob", "project_owner").await;
    let mut bob = Browser::new(&platform.url());
    assert_eq!(bob.login("bob", PASSWORD).await.0, 200);
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let begun = bob.post("/api/v1/imageutils/uploads", json!({"name": "pieces", "disk_format": "raw", "size": content.len()})).await;
    let path = format!("/api/v1/imageutils/uploads/{}", begun["id"].as_str().expect("an id"));
    let half = content.len() / 2;
    let bring = async |who: &mut Browser, at: usize, bytes: &[u8]| {
        let call = who.call(Method::PUT, &format!("{path}?offset={at}")).bytes(bytes.to_vec());
        let (status, answer) = who.take(call).await;
        (status, serde_json::from_slice::<Json>(&answer).expect("JSON"))
    };
    assert_eq!(bring(&mut bob, 0, &content[..half]).await, (200, json!({"offset": half})));
    assert_eq!(bring(&mut bob, 0, &content[..half]).await.0, 409, "what has come does not come twice");
    assert_eq!(bring(&mut admin, half, &content[half..]).await.0, 404, "somebody else's is not there");
    assert_eq!(bob.get(&path).await, json!({"offset": half, "size": content.len()}));
    assert_eq!(bring(&mut bob, half, &[&content[half..], b"more"].concat()).await.0, 400, "more than was announced");
    let (status, image) = bring(&mut bob, half, &content[half..]).await;
    assert!(status == 200 && image["name"] == "pieces", "{status} {image}");
    assert_eq!(bob.send(Method::GET, &path, None).await.0, 404, "it is over");
    assert_eq!(image["size"].as_u64(), Some(content.len() as u64), "{image}");
}
