//! A spreadsheet that somebody filled in (ECMA-376): the texts of one sheet, row by row. Written by strangers, so everything has a bound; formulas
//! count as what they came to when they were saved.

use base::{Result, err};
use roxmltree::{Document, Node};
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// Largest part of a file when unpacked, bytes; all of a thousand long rows are a tenth of it.
const PART: u64 = 8 << 20;
/// Columns that are looked at.
const WIDE: usize = 256;

fn wrong() -> base::Error {
    err!(InputParameter, "the file is no spreadsheet (xlsx), or it is damaged; download the template and fill it in")
}

/// The rows of the sheet of this name, or of the first one. Empty rows are there, so that a row's place is its number; more than `most` are refused.
pub fn rows(file: &[u8], sheet: &str, most: usize) -> Result<Vec<Vec<String>>> {
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(|e| wrong().with_context(e))?;
    let path = place(&mut archive, sheet)?;
    let shared = match part(&mut archive, "xl/sharedStrings.xml")? {
        Some(text) => parse(&text)?.root_element().children().filter(|n| is(*n, "si")).map(told).collect(),
        None => Vec::new(),
    };
    let text = part(&mut archive, &path)?.ok_or_else(wrong)?;
    read(&text, &shared, most)
}

/// One part of the file as text; `None` when it has none of that name.
fn part(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<Option<String>> {
    let mut text = String::new();
    match archive.by_name(name) {
        // What the file says of its own size is not believed.
        Ok(file) => _ = file.take(PART + 1).read_to_string(&mut text).map_err(|e| wrong().with_context(e))?,
        Err(zip::result::ZipError::FileNotFound) => return Ok(None),
        Err(e) => return Err(wrong().with_context(e)),
    }
    if text.len() as u64 > PART {
        return Err(err!(TooLargeEntity, "a sheet of the file is larger than {} bytes", PART));
    }
    Ok(Some(text))
}

/// Without document type definitions: nothing is defined by the document that the document then uses.
fn parse(text: &str) -> Result<Document<'_>> {
    Document::parse(text).map_err(|e| wrong().with_context(e))
}

fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}

/// Where the sheet lies.
fn place(archive: &mut ZipArchive<Cursor<&[u8]>>, wanted: &str) -> Result<String> {
    let book = part(archive, "xl/workbook.xml")?.ok_or_else(wrong)?;
    let book = parse(&book)?;
    let sheets: Vec<Node> = book.descendants().filter(|n| is(*n, "sheet")).collect();
    let named = sheets.iter().find(|n| n.attribute("name").is_some_and(|name| name.eq_ignore_ascii_case(wanted)));
    let sheet = named.or(sheets.first()).ok_or_else(wrong)?;
    let id = sheet.attributes().find(|a| a.name() == "id" && a.namespace().is_some()).ok_or_else(wrong)?.value();
    let ties = part(archive, "xl/_rels/workbook.xml.rels")?.ok_or_else(wrong)?;
    let ties = parse(&ties)?;
    let tie = ties.descendants().find(|n| is(*n, "Relationship") && n.attribute("Id") == Some(id)).ok_or_else(wrong)?;
    let target = tie.attribute("Target").ok_or_else(wrong)?;
    Ok(target.strip_prefix('/').map_or_else(|| format!("xl/{target}"), str::to_string))
}

/// The text of a shared or inline string: its runs, without hints of pronunciation.
fn told(node: Node<'_, '_>) -> String {
    let spoken = |n: &Node| n.ancestors().any(|a| is(a, "rPh"));
    node.descendants().filter(|n| is(*n, "t") && !spoken(n)).filter_map(|n| n.text()).collect()
}

fn read(text: &str, shared: &[String], most: usize) -> Result<Vec<Vec<String>>> {
    let sheet = parse(text)?;
    let mut out: Vec<Vec<String>> = Vec::new();
    for row in sheet.descendants().filter(|n| is(*n, "row")) {
        let mut cells = Vec::new();
        for cell in row.children().filter(|n| is(*n, "c")) {
            let at = cell.attribute("r").and_then(column).unwrap_or(cells.len());
            if at >= WIDE {
                continue;
            }
            if cells.len() <= at {
                cells.resize(at + 1, String::new());
            }
            cells[at] = value(cell, shared).trim().to_string();
        }
        // Rows that nobody wrote into have no numbers of their own in the file.
        let number = row.attribute("r").and_then(|r| r.parse::<usize>().ok()).unwrap_or(out.len() + 1);
        if cells.iter().all(String::is_empty) {
            continue;
        }
        if number > most {
            return Err(err!(InputParameter, "the file has more than {} rows; split it", most));
        }
        if out.len() < number {
            out.resize(number, Vec::new());
        }
        out[number - 1] = cells;
    }
    Ok(out)
}

fn value(cell: Node<'_, '_>, shared: &[String]) -> String {
    let plain = || cell.children().find(|n| is(*n, "v")).and_then(|n| n.text()).unwrap_or_default().to_string();
    match cell.attribute("t") {
        Some("s") => plain().parse::<usize>().ok().and_then(|i| shared.get(i)).cloned().unwrap_or_default(),
        Some("inlineStr") => told(cell),
        Some("b") => if plain() == "1" { "true" } else { "false" }.to_string(),
        _ => plain(),
    }
}

/// `BC12` is the column of number 54, from nought.
fn column(reference: &str) -> Option<usize> {
    let letters: Vec<usize> =
        reference.bytes().take_while(u8::is_ascii_alphabetic).map(|b| usize::from(b.to_ascii_uppercase() - b'A') + 1).collect();
    (1..=3).contains(&letters.len()).then(|| letters.into_iter().fold(0, |sum, n| sum * 26 + n) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in parts {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).expect("a part");
            zip.write_all(text.as_bytes()).expect("written");
        }
        zip.finish().expect("a file").into_inner()
    }

    const BOOK: (&str, &str) = (
        "xl/workbook.xml",
        r#"<workbook xmlns="m" xmlns:r="o"><sheets><sheet name="first" sheetId="1" r:id="a"/><sheet name="Users" sheetId="2" r:id="b"/></sheets></workbook>"#,
    );
    const TIES: (&str, &str) = (
        "xl/_rels/workbook.xml.rels",
        r#"<Relationships xmlns="p"><Relationship Id="a" Target="worksheets/one.xml"/><Relationship Id="b" Target="/xl/worksheets/two.xml"/></Relationships>"#,
    );

    #[test]
    fn texts_however_they_are_kept() {
        let strings =
            r#"<sst xmlns="m"><si><t>name</t></si><si><r><t>Ann </t></r><r><t>Example</t></r><rPh sb="0" eb="1"><t>x</t></rPh></si></sst>"#;
        let sheet = r#"<worksheet xmlns="m"><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="inlineStr"><is><t> in </t></is></c></row>
            <row r="3"><c r="B3" t="b"><v>1</v></c><c r="A3" t="s"><v>1</v></c><c r="D3"><f>1+1</f><v>2</v></c><c r="E3" t="s"><v>99</v></c></row>
            <row r="9999"><c r="A9999"/></row></sheetData></worksheet>"#;
        let made =
            file(&[BOOK, TIES, ("xl/sharedStrings.xml", strings), ("xl/worksheets/two.xml", sheet), ("xl/worksheets/one.xml", "<a/>")]);
        let got = rows(&made, "users", 10).expect("rows");
        let want: [&[&str]; 3] = [&["name", "", "in"], &[], &["Ann Example", "true", "", "2", ""]];
        assert_eq!(got, want);
        assert_eq!(rows(&made, "nobody", 10).expect("the first sheet"), Vec::<Vec<String>>::new());
        assert!(rows(&made, "users", 2).unwrap_err().to_string().contains("more than 2"));
    }

    #[test]
    fn what_is_none_is_refused() {
        let bomb = format!("<worksheet xmlns=\"m\">{}</worksheet>", " ".repeat(PART as usize));
        let entity = r#"<!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet xmlns="m"><sheetData><row r="1"><c t="inlineStr"><is><t>&a;</t></is></c></row></sheetData></worksheet>"#;
        for (what, bytes) in [
            ("nothing", Vec::new()),
            ("text", b"name,password\n".to_vec()),
            ("an archive of something else", file(&[("a", "b")])),
            ("no sheet", file(&[BOOK, TIES])),
            ("a large sheet", file(&[BOOK, TIES, ("xl/worksheets/one.xml", &bomb)])),
            ("entities", file(&[BOOK, TIES, ("xl/worksheets/one.xml", entity)])),
            ("broken", file(&[BOOK, TIES, ("xl/worksheets/one.xml", "<worksheet><")])),
        ] {
            let e = rows(&bytes, "x", 10).expect_err(what);
            assert!((400..500).contains(&e.class().http()), "{what}: {e}");
        }
    }

    #[test]
    fn columns() {
        let got: Vec<Option<usize>> = ["A1", "Z9", "AA3", "BC12", "xfd1", "7", "ABCD1"].into_iter().map(column).collect();
        assert_eq!(got, [Some(0), Some(25), Some(26), Some(54), Some(16383), None, None]);
    }
}
