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
    let first = export.page(0).await?;
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

impl Export {
    async fn page(&self, offset: usize) -> Result<Vec<Json>> {
        let more = if self.query.is_empty() { String::new() } else { format!("&{}", self.query) };
        let path = format!("{}?limit={PAGE}&offset={offset}{more}", self.path);
        let call = self.gateway.services.for_user(&self.ctx, Method::GET, &self.module.kind, &self.region, &path).await?;
        let mut answer = call.send().await?.json().await?;
        let rows = answer.as_object_mut().and_then(|o| o.values_mut().find(|v| v.is_array()).map(Json::take));
        Ok(rows.and_then(|r| if let Json::Array(rows) = r { Some(rows) } else { None }).unwrap_or_default())
    }

    fn csv(self, first: Vec<Json>) -> impl futures_util::Stream<Item = Result<Bytes>> + Send + 'static {
        // Spreadsheets take a file for UTF-8 only with the mark.
        let mut head = String::from("\u{feff}");
        line(&mut head, self.texts.iter().map(String::as_str));
        let start = (self, Some(first), 0usize, head);
        futures_util::stream::unfold(Some(start), |state| async move {
            let (export, rows, offset, mut text) = state?;
            let rows = match rows {
                Some(rows) => rows,
                None => match export.page(offset).await {
                    Ok(rows) => rows,
                    Err(e) => return Some((Err(e), None)),
                },
            };
            for row in &rows {
                let cells: Vec<String> = export.keys.iter().map(|key| cell(row, key)).collect();
                line(&mut text, cells.iter().map(String::as_str));
            }
            let next = (rows.len() == PAGE).then(|| (export, None, offset + PAGE, String::new()));
            if text.is_empty() {
                return None;
            }
            Some((Ok(Bytes::from(text)), next))
        })
        .boxed()
    }

    /// Rows go to a temporary file as they come; the finished book is read from another.
    async fn xlsx(self, first: Vec<Json>) -> Result<Response> {
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
        let (mut rows, mut offset) = (first, 0usize);
        loop {
            let count = rows.len();
            let cells = rows.iter().map(|row| self.keys.iter().map(|key| cell(row, key)).collect()).collect();
            if put.send(cells).await.is_err() || count < PAGE {
                break;
            }
            offset += PAGE;
            if offset + PAGE > SHEET {
                return Err(err!(OutOfLimit, "the list has more rows than a sheet takes; filter it, or export it as csv"));
            }
            rows = self.page(offset).await?;
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
    fn cells_and_lines() {
        let row = json!({"name": "a", "n": 5, "list": ["x", "y"], "inner": {"b": true}, "dotted.key": 1});
        let got: Vec<String> = ["name", "n", "list", "inner.b", "dotted.key", "nothing"].iter().map(|k| cell(&row, k)).collect();
        assert_eq!(got, ["a", "5", "x, y", "true", "1", ""]);
        let mut out = String::new();
        line(&mut out, ["a", "b,c", "say \"x\"", "=cmd|' /C calc'!A0", "-5", "-x"].into_iter());
        assert_eq!(out, "a,\"b,c\",\"say \"\"x\"\"\",\"'=cmd|' /C calc'!A0\",-5,\"'-x\"\r\n");
    }
}
