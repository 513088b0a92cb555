//! Lists as files: CSV (RFC 4180) written while it is read, and XLSX through a file on disk, both in constant memory and page by page with the
//! user's own rights.

use crate::{Gateway, catalog::Module, proxy::encoded_without};
use base::{Ctx, Error, Json, Result, err};
use futures_util::StreamExt;
use http::{Bytes, HeaderValue, Method, Reply, Request, Response};
use std::sync::Arc;
use tokio::{io::AsyncReadExt, sync::mpsc};

/// Rows asked for at once.
const PAGE: usize = 500;
/// Rows of a sheet (ECMA-376: 1048576 with the head).
const SHEET: usize = 1_048_575;
const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8");
const XLSX: HeaderValue = HeaderValue::from_static("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet");

/// What is exported.
struct Export {
    gateway: Arc<Gateway>,
    ctx: Ctx,
    module: &'static Module,
    region: String,
    path: String,
    query: String,
    keys: Vec<String>,
    texts: Vec<String>,
}

/// `export=csv|xls|xlsx&export_keys=a,b&export_texts=A,B&export_file_name=f`
pub async fn download(gateway: &Arc<Gateway>, ctx: Ctx, region: String, module: &'static Module, path: String, request: &Request) -> Reply {
    let words = |key: &str| -> Vec<String> {
        let all = request.query.all(key);
        all.iter().flat_map(|t| t.split(',')).map(str::trim).filter(|t| !t.is_empty()).map(str::to_string).collect()
    };
    let keys = words("export_keys");
    if keys.is_empty() || keys.len() > 256 {
        return Err(err!(InputParameter, "{}: name 1 to {} columns", "export_keys", 256));
    }
    let texts = words("export_texts");
    let texts = if texts.len() == keys.len() { texts } else { keys.clone() };
    let own = ["export", "export_keys", "export_texts", "export_file_name", "export_limit", "limit", "offset"];
    let query = encoded_without(request, &own);
    let name = request.query.text("export_file_name").filter(|n| !n.is_empty()).unwrap_or(&module.plural).to_string();
    let export = Export { gateway: gateway.clone(), ctx, module, region, path, query, keys, texts };
    // The first page before the head: what is refused is refused properly.
    let first = export.page(&Place::default()).await?;
    request.lift_deadline();
    let (response, extension) = match request.query.text("export") {
        Some("csv") => (Response::stream(CSV, None, export.csv(first)), "csv"),
        Some("xls" | "xlsx") => (export.xlsx(first).await?, "xlsx"),
        other => return Err(err!(InputParameter, "export {} is unknown; use csv or xlsx", other.unwrap_or_default())),
    };
    let base = name.trim_end_matches(".xlsx").trim_end_matches(".csv");
    let plain: String = base.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).take(100).collect();
    let full = http::path::encode(&base.chars().take(100).collect::<String>());
    let how = format!("attachment; filename=\"{plain}.{extension}\"; filename*=UTF-8''{full}.{extension}");
    Ok(response.with_header("content-disposition", &how).with_header("x-accel-buffering", "no"))
}

/// Where a page begins: at a row's number, or after a mark that a service gave, as those do whose rows only ever grow in number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    offset: usize,
    marker: Option<String>,
}

/// Rows, and where the next page begins.
struct Rows {
    rows: Vec<Json>,
    next: Option<Place>,
}

/// A service's list at a place.
fn read(mut answer: Json, here: &Place) -> Rows {
    let marked = answer.get("next_marker").and_then(Json::as_str).filter(|m| !m.is_empty()).map(str::to_string);
    let rows = answer.as_object_mut().and_then(|o| o.values_mut().find(|v| v.is_array()).map(Json::take));
    let rows = rows.and_then(|r| if let Json::Array(rows) = r { Some(rows) } else { None }).unwrap_or_default();
    let total = answer.get("total").and_then(Json::as_u64).map(|n| n as usize);
    let offset = here.offset + rows.len();
    let next = match (marked, total) {
        _ if rows.is_empty() => None,
        // A service that gives marks passes numbers over.
        (Some(marker), _) => (here.marker.as_ref() != Some(&marker)).then_some(Place { offset, marker: Some(marker) }),
        (None, Some(total)) if here.marker.is_none() => (offset < total).then_some(Place { offset, marker: None }),
        _ => None,
    };
    Rows { rows, next }
}

impl Export {
    async fn page(&self, at: &Place) -> Result<Rows> {
        let mut path = format!("{}?limit={PAGE}", self.path);
        match &at.marker {
            Some(marker) => path += &format!("&paging_marker={}", http::path::encode(marker)),
            None => path += &format!("&offset={}", at.offset),
        }
        // Only what is written: the key itself, and what it lies in.
        for key in &self.keys {
            let outer = key.split('.').next().unwrap_or_default();
            for field in [Some(key.as_str()), (outer != key).then_some(outer)].into_iter().flatten() {
                path += &format!("&field={}", http::path::encode(field));
            }
        }
        if !self.query.is_empty() {
            path += &format!("&{}", self.query);
        }
        let call = self.gateway.services.for_user(&self.ctx, Method::GET, &self.module.kind, &self.region, &path).await?;
        Ok(read(call.send().await?.json().await?, at))
    }

    fn csv(self, first: Rows) -> impl futures_util::Stream<Item = Result<Bytes>> + Send + 'static {
        // Spreadsheets take a file for UTF-8 only with the mark.
        let mut head = String::from("\u{feff}");
        line(&mut head, self.texts.iter().map(String::as_str));
        // Nothing is read ahead: a page is asked for when the one before it has been taken.
        futures_util::stream::unfold(Some((self, Ok(first), head)), |state| async move {
            let (export, page, mut text) = state?;
            let Rows { rows, next } = match page {
                Ok(page) => page,
                Err(place) => match export.page(&place).await {
                    Ok(page) => page,
                    Err(e) => return Some((Err(e), None)),
                },
            };
            for row in &rows {
                let cells: Vec<String> = export.keys.iter().map(|key| cell(row, key)).collect();
                line(&mut text, cells.iter().map(String::as_str));
            }
            if text.is_empty() {
                return None;
            }
            Some((Ok(Bytes::from(text)), next.map(|place| (export, Err(place), String::new()))))
        })
        .boxed()
    }

    /// Rows go to a temporary file as they come; the finished book is read from another.
    async fn xlsx(self, first: Rows) -> Result<Response> {
        let (put, mut take) = mpsc::channel::<Vec<Vec<String>>>(2);
        let texts = self.texts.clone();
        let book = tokio::task::spawn_blocking(move || -> Result<std::fs::File> {
            let mut book = rust_xlsxwriter::Workbook::new();
            let sheet = book.add_worksheet_with_constant_memory().map_err(Error::internal)?;
            let bold = rust_xlsxwriter::Format::new().set_bold();
            for (i, text) in texts.iter().enumerate() {
                sheet.write_string_with_format(0, i as u16, text, &bold).map_err(Error::internal)?;
            }
            let mut at = 0u32;
            while let Some(rows) = take.blocking_recv() {
                for row in rows {
                    at += 1;
                    for (i, text) in row.iter().enumerate() {
                        // Longer texts are no cell's (ECMA-376 §18.18.93: 32767 characters).
                        let text: String = text.chars().take(32_767).collect();
                        sheet.write_string(at, i as u16, text).map_err(Error::internal)?;
                    }
                }
            }
            let mut file = tempfile::tempfile().map_err(Error::internal)?;
            book.save_to_writer(&mut file).map_err(Error::internal)?;
            std::io::Seek::rewind(&mut file).map_err(Error::internal)?;
            Ok(file)
        });
        let mut page = first;
        let mut count = 0;
        loop {
            count += page.rows.len();
            if count > SHEET {
                return Err(err!(OutOfLimit, "the list has more rows than a sheet takes; filter it, or export it as csv"));
            }
            let cells = page.rows.iter().map(|row| self.keys.iter().map(|key| cell(row, key)).collect()).collect();
            let Some(next) = page.next else {
                let _gone = put.send(cells).await;
                break;
            };
            if put.send(cells).await.is_err() {
                break;
            }
            page = self.page(&next).await?;
        }
        drop(put);
        let file = book.await.map_err(Error::internal)??;
        let length = file.metadata().map_err(Error::internal)?.len();
        let stream = futures_util::stream::unfold(Some(tokio::fs::File::from_std(file)), |file| async move {
            let mut file = file?;
            let mut piece = vec![0u8; 64 << 10];
            match file.read(&mut piece).await {
                Ok(0) => None,
                Ok(n) => {
                    piece.truncate(n);
                    Some((Ok(Bytes::from(piece)), Some(file)))
                }
                Err(e) => Some((Err(Error::internal(e)), None)),
            }
        });
        Ok(Response::stream(XLSX, Some(length), stream))
    }
}

/// A value by its path with dots, as text.
fn cell(row: &Json, key: &str) -> String {
    let value = row.get(key).or_else(|| row.pointer(&format!("/{}", key.replace('.', "/")))).unwrap_or(&Json::Null);
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Array(items) if items.iter().all(Json::is_string) => items.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// One line. A text that a spreadsheet would take for a formula gets an apostrophe: names are chosen by strangers.
fn line<'a>(out: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (i, text) in cells.enumerate() {
        if i > 0 {
            out.push(',');
        }
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
        let quoted = formula || text.contains(['"', ',', '\n', '\r']);
        if quoted {
            out.push('"');
        }
        if formula {
            out.push('\'');
        }
        out.push_str(&text.replace('"', "\"\""));
        if quoted {
            out.push('"');
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pages_follow_each_other_and_end() {
        let at = |offset, marker: Option<&str>| Place { offset, marker: marker.map(String::from) };
        let check = |answer: Json, here: Place, want: Option<Place>| assert_eq!(read(answer, &here).next, want);
        check(json!({"servers": [{}, {}], "total": 5, "offset": 2}), at(2, None), Some(at(4, None)));
        check(json!({"servers": [{}], "total": 5}), at(4, None), None);
        check(json!({"servers": []}), at(0, None), None);
        // Fewer than were asked for are no end: a service may have a smaller page.
        check(json!({"servers": [{}], "total": 5}), at(0, None), Some(at(1, None)));
        check(json!({"events": [{}], "next_marker": "7"}), at(0, None), Some(at(1, Some("7"))));
        check(json!({"events": [{}]}), at(1, Some("7")), None);
        check(json!({"events": [{}], "next_marker": "7"}), at(1, Some("7")), None);
    }

    #[test]
    fn cells_and_lines() {
        let row = json!({"name": "a", "n": 5, "list": ["x", "y"], "inner": {"b": true}, "dotted.key": 1});
        let got: Vec<String> = ["name", "n", "list", "inner.b", "dotted.key", "nothing"].iter().map(|k| cell(&row, k)).collect();
        assert_eq!(got, ["a", "5", "x, y", "true", "1", ""]);
        let mut out = String::new();
        line(&mut out, ["a", "b,c", "say \"x\"", "=cmd|' /C calc'!A0", "-5", "-x"].into_iter());
        assert_eq!(out, "a,\"b,c\",\"say \"\"x\"\"\",\"'=cmd|' /C calc'!A0\",-5,\"'-x\"\r\n");
    }
}
