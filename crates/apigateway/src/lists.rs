//! Lists that administrators fill in as spreadsheets (spec 03 §6): users, many at once, with the caller's own rights; and the template for it.
//! What the same addresses do for services that are not here is refused with that reason.

use crate::{Gateway, door::Visit, multipart::Multipart, on, proxy, sheet};
use base::{Class, Error, Json, Lang, Result, err};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Method, Reply, Request, Response, Router, StatusCode};
use serde_json::json;
use std::{collections::BTreeMap, collections::HashSet, sync::Arc};

/// Rows of a list, its head not counted (spec 03 §6).
const MOST: usize = 1000;
/// Largest file, bytes.
const FILE: usize = 4 << 20;
const FIELD: usize = 4 << 10;
/// Users made at once: each costs the identity service the hashing of a password.
const AT_ONCE: usize = 2;
const USERS: &str = "BatchUserRegister";

/// Columns: the word that a head has in it, and the heads of the template. The first word found counts, so `user` is last.
const COLUMNS: [(&str, &str, &str); 5] = [
    ("displayname", "displayname", "*显示名（displayname）"),
    ("allow_web_console", "*allow_web_console (true, false)", "*是否登录控制台（allow_web_console：true、false）"),
    ("password", "*password", "*用户密码（password）"),
    ("domain", "*domain", "*部门/域（domain）"),
    ("user", "*user", "*用户名（user）"),
];
/// Their order in the template.
const ORDER: [usize; 5] = [4, 2, 0, 3, 1];

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    router
        .post("/api/{ver}/uploads", on(gateway, |g, r| async move { upload(&g, r).await }))
        .get("/api/{ver}/downloads/{template}", on(gateway, |g, r| async move { template(&g, r).await }))
        .post("/api/{ver}/s3uploads", on(gateway, |g, r| async move { absent(&g, r, "object storage").await }))
        .any(&crate::door::METHODS, "/api/{ver}/_raw/{*path}", on(gateway, |g, r| async move { absent(&g, r, "Kubernetes").await }))
}

async fn absent(gateway: &Gateway, request: Request, what: &str) -> Reply {
    proxy::version(&request)?;
    gateway.enter(request).await?;
    Err(err!(UnsupportedOperation, "this installation has no service for {}", what))
}

fn demand_known(action: &str) -> Result<()> {
    match action {
        USERS => Ok(()),
        "" => Err(err!(MissingParameter, "{} is missing", "action")),
        a if a.starts_with("BatchHost") => Err(err!(
            UnsupportedOperation,
            "this installation has no service for physical machines; a host joins with a token of wolke host-token create"
        )),
        other => Err(err!(InputParameter, "{} is no list that can be uploaded; there is {}", other, USERS)),
    }
}

/// `GET downloads/BatchUserRegister`: the sheet to fill in.
async fn template(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let visit = gateway.enter(request).await?;
    demand_known(visit.request.param("template"))?;
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet();
    sheet.set_name("users").map_err(Error::internal)?;
    for (at, which) in ORDER.into_iter().enumerate() {
        let (_, en, zh) = COLUMNS[which];
        sheet.write_string(0, at as u16, if visit.ctx.lang == Lang::Zh { zh } else { en }).map_err(Error::internal)?;
    }
    let kind = HeaderValue::from_static("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet");
    let response = Response::bytes(kind, book.save_to_buffer().map_err(Error::internal)?);
    Ok(response.with_header("content-disposition", "attachment; filename=template.xlsx"))
}

/// `POST uploads`, a form with `action=BatchUserRegister` and the file `users`.
async fn upload(gateway: &Arc<Gateway>, request: Request) -> Reply {
    proxy::version(&request)?;
    let mut visit = gateway.enter(request).await?;
    let mut form = Multipart::begin(&mut visit.request).ok_or_else(|| err!(InputParameter, "send the list as multipart/form-data"))?;
    let (mut action, mut file) = (String::new(), None);
    while let Some(part) = form.next().await? {
        match part.name.as_str() {
            "action" => action = String::from_utf8_lossy(&form.bytes(FIELD).await?).trim().to_string(),
            "users" => file = Some(form.bytes(FILE).await?),
            _ => {}
        }
    }
    demand_known(&action)?;
    let file = file.ok_or_else(|| err!(MissingParameter, "{} is missing", "users"))?;
    let rows = tokio::task::spawn_blocking(move || sheet::rows(&file, "users", MOST + 1)).await.map_err(Error::internal)??;
    let wishes = wishes(&rows)?;
    // Each call has its own deadline; together they may take longer than one request.
    visit.request.lift_deadline();
    register(gateway, visit, wishes).await
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wish {
    row: usize,
    name: String,
    password: String,
    displayname: String,
    domain: String,
    web: bool,
}

/// What the rows say; nothing is made when one of them says nothing sensible. Pure.
fn wishes(rows: &[Vec<String>]) -> Result<Vec<Wish>> {
    let head = rows.first().map(Vec::as_slice).unwrap_or_default();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, text) in head.iter().enumerate() {
        if let Some((word, ..)) = COLUMNS.iter().find(|(word, ..)| text.contains(word)) {
            places.entry(word).or_insert(at);
        }
    }
    if let Some((word, ..)) = COLUMNS.iter().find(|(word, ..)| *word != "displayname" && !places.contains_key(word)) {
        return Err(err!(InputParameter, "the first row has no column {}; download the template and fill it in", word));
    }
    let mut seen = HashSet::new();
    let mut wishes = Vec::new();
    for (at, row) in rows.iter().enumerate().skip(1).filter(|(_, row)| !row.is_empty()) {
        let cell = |word: &str| places.get(word).and_then(|at| row.get(*at)).cloned().unwrap_or_default();
        let mut wish = Wish {
            row: at + 1,
            name: cell("user"),
            password: cell("password"),
            displayname: cell("displayname"),
            domain: cell("domain"),
            ..Wish::default()
        };
        for (word, text) in [("user", &wish.name), ("password", &wish.password), ("domain", &wish.domain)] {
            if text.is_empty() {
                return Err(err!(InputParameter, "row {}: {} is empty", wish.row, word));
            }
        }
        wish.web = match cell("allow_web_console").to_ascii_lowercase().as_str() {
            "true" | "1" => true,
            "false" | "0" | "" => false,
            other => return Err(err!(InputParameter, "row {}: {} is {}; write true or false", wish.row, "allow_web_console", other)),
        };
        if wish.displayname.is_empty() {
            wish.displayname.clone_from(&wish.name);
        }
        if !seen.insert((wish.name.clone(), wish.domain.clone())) {
            return Err(err!(InputParameter, "row {}: {} is in the list twice", wish.row, wish.name));
        }
        wishes.push(wish);
    }
    if wishes.is_empty() { Err(err!(InputParameter, "the list is empty")) } else { Ok(wishes) }
}

/// 200 and `{}` when all are there now, those who were before too; else how each fared.
async fn register(gateway: &Arc<Gateway>, visit: Visit, wishes: Vec<Wish>) -> Reply {
    let names: HashSet<String> = wishes.iter().map(|w| w.domain.clone()).collect();
    let mut domains = BTreeMap::new();
    for name in names {
        // Looked up in the gateway's name, as log-in pages do; whether the caller may make users there is decided when he does.
        let path = format!("/domains/{}", http::path::encode(&name));
        let found = gateway.services.own(Method::GET, &path, None).await.map_err(|e| match e.class().http() {
            404 => err!(InputParameter, "there is no domain {}", name),
            _ => e,
        })?;
        domains.insert(name, found["domain"]["id"].as_str().unwrap_or_default().to_string());
    }
    let (ctx, domains) = (&visit.ctx, &domains);
    let told: Vec<(u16, String, Json)> = stream::iter(wishes.into_iter().map(|wish| async move {
        let user = json!({"name": wish.name, "password": wish.password, "displayname": wish.displayname, "domain_id": domains[&wish.domain],
            "allow_web_console": wish.web, "enabled": true, "skip_password_complexity_check": true});
        let call = gateway.services.identity(Method::POST, "/users").ctx(ctx).json(&json!({ "user": user }));
        let made = async { call.send().await?.json().await }.await;
        match made {
            Ok(mut body) => (200, wish.name, body["user"].take()),
            // Who uploads a list once more wants the rest.
            Err(e) if matches!(e.class(), Class::DuplicateName | Class::DuplicateResource) => (200, wish.name, json!({"skipped": true})),
            Err(e) => {
                let mut body = http::error_body::body(&e, ctx.lang, &ctx.request_id);
                body["row"] = wish.row.into();
                (e.class().http(), wish.name, body)
            }
        }
    }))
    .buffered(AT_ONCE)
    .collect()
    .await;
    if told.iter().all(|(status, ..)| *status == 200) {
        return Ok(Response::json(&json!({})));
    }
    let data: Vec<Json> = told.into_iter().map(|(status, name, data)| json!({"status": status, "id": name, "data": data})).collect();
    Ok(Response::json(&json!({ "data": data })).with_status(StatusCode::MULTI_STATUS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(all: &[&[&str]]) -> Vec<Vec<String>> {
        all.iter().map(|row| row.iter().map(|t| t.to_string()).collect()).collect()
    }

    #[test]
    fn rows_by_their_heads() {
        for language in [|c: (&str, &'static str, &'static str)| c.1, |c: (&str, &'static str, &'static str)| c.2] {
            let head: Vec<&str> = ORDER.iter().map(|i| language(COLUMNS[*i])).collect();
            let all = rows(&[&head, &[], &["ann", "pw", "Ann", "Default", "TRUE"], &["bob", "pw", "", "Default"]]);
            let got = wishes(&all).expect("sound");
            let ann =
                Wish { row: 3, name: "ann".into(), password: "pw".into(), displayname: "Ann".into(), domain: "Default".into(), web: true };
            let bob = Wish { row: 4, name: "bob".into(), displayname: "bob".into(), web: false, ..ann.clone() };
            assert_eq!(got, [ann, bob]);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let head: &[&str] = &["user", "password", "displayname", "domain", "allow_web_console"];
        for (all, word) in [
            (rows(&[]), "column allow_web_console"),
            (rows(&[&["user", "password", "domain"]]), "column allow_web_console"),
            (rows(&[head]), "empty"),
            (rows(&[head, &["", "pw", "", "d"]]), "row 2: user"),
            (rows(&[head, &["a", "", "", "d"]]), "row 2: password"),
            (rows(&[head, &["a", "p"]]), "row 2: domain"),
            (rows(&[head, &["a", "p", "", "d", "perhaps"]]), "perhaps"),
            (rows(&[head, &["a", "p", "", "d"], &["a", "q", "", "d"]]), "row 3: a is in the list twice"),
        ] {
            let e = wishes(&all).expect_err(word).to_string();
            assert!(e.contains(word), "{e}");
        }
    }
}
