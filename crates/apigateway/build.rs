//! Puts the documents of the services and the built console into the crate. Neither is made here: the documents are golden files, the console
//! is built by npm. Without a built console there are no assets, and the address says how to build them.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

fn main() -> io::Result<()> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    documents(&root.join("docs/openapi"), &out.join("documents.rs"))?;
    assets(&root.join("web/dist"), &out.join("files.rs"))
}

/// `DOCUMENTS`: the service's word and the text.
fn documents(dir: &Path, out: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut text = String::from("/// The documents, by the word of their service.\npub const DOCUMENTS: &[(&str, &str)] = &[\n");
    for file in sorted(dir)? {
        if file.extension().is_some_and(|e| e == "json") {
            println!("cargo::rerun-if-changed={}", file.display());
            let word = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            writeln!(text, "    ({word:?}, include_str!({:?})),", file.canonicalize()?).map_err(io::Error::other)?;
        }
    }
    text.push_str("];\n");
    fs::write(out, text)
}

/// `FILES`: the path, the bytes, and whatever encodings lie beside the file.
fn assets(dir: &Path, out: &Path) -> io::Result<()> {
    // What is not there counts as changed at every build, and what is newer than this run at the next one: without a console the crate would never be done.
    let _old = fs::create_dir(dir).and_then(|()| fs::File::open(dir)?.set_modified(SystemTime::UNIX_EPOCH));
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut files = Vec::new();
    let dir = &dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    if dir.is_dir() {
        walk(dir, &mut files)?;
    }
    let packed = out.with_file_name("packed");
    fs::create_dir_all(&packed)?;
    let mut text = String::from("/// Path, bytes, brotli, gzip.\npub static FILES: &[(&str, &[u8], Option<&[u8]>, Option<&[u8]>)] = &[\n");
    for file in &files {
        if file.extension().is_some_and(|e| e == "br" || e == "gz") {
            continue;
        }
        let name = file.strip_prefix(dir).map_err(io::Error::other)?.to_string_lossy().replace('\\', "/");
        // What the console's own build has not compressed is compressed here, once.
        let own = || -> io::Result<String> {
            let bytes = fs::read(file)?;
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            gzip.write_all(&bytes)?;
            let small = gzip.finish()?;
            if bytes.len() < 512 || small.len() * 10 > bytes.len() * 9 {
                return Ok("None".to_string());
            }
            let path = packed.join(format!("{}.gz", name.replace('/', "_")));
            fs::write(&path, small)?;
            Ok(format!("Some(include_bytes!({path:?}))"))
        };
        let beside = |extension: &str| {
            let mut path = file.clone().into_os_string();
            path.push(extension);
            match files.iter().any(|f| f.as_os_str() == path) {
                true => format!("Some(include_bytes!({:?}))", PathBuf::from(path)),
                false => "None".to_string(),
            }
        };
        // A copy: whoever builds the console meanwhile takes its files away.
        let copy = packed.join(name.replace('/', "_"));
        fs::copy(file, &copy)?;
        let gzip = match beside(".gz").as_str() {
            "None" => own()?,
            there => there.to_string(),
        };
        writeln!(text, "    ({name:?}, include_bytes!({copy:?}), {}, {gzip}),", beside(".br")).map_err(io::Error::other)?;
    }
    text.push_str("];\n");
    fs::write(out, text)
}

fn walk(dir: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", dir.display());
    for path in sorted(dir)? {
        // The bundler's own notes.
        if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() {
            walk(&path, into)?;
        } else {
            into.push(path.canonicalize()?);
        }
    }
    Ok(())
}

fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?.into_iter().map(|e| e.path()).collect();
    all.sort();
    Ok(all)
}
