//! Package sources of apt, in both formats, and the one thing done with them: the machine's own Debian source again, for another suite.
//! No address is known here; it is always the machine's. (sources.list(5))

use std::path::{Path, PathBuf};

/// One active source of binary packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub file: PathBuf,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// `deb [options] uri suite component…`: everything before the suite, options included.
    Line { before_suite: String },
    /// The fields of a deb822 stanza in their order, comments left out, continuation lines kept.
    Stanza(Vec<(String, String)>),
}

impl Source {
    /// A source file for `suite` at the same place as this source: its path and its text.
    pub fn with_suite(&self, suite: &str) -> (PathBuf, String) {
        let dir = Path::new("/etc/apt/sources.list.d");
        match &self.form {
            Form::Line { before_suite } => {
                (dir.join(format!("{suite}.list")), format!("{before_suite} {suite} {}\n", self.components.join(" ")))
            }
            Form::Stanza(fields) => {
                let mut text = String::new();
                for (name, value) in fields {
                    match name.to_ascii_lowercase().as_str() {
                        "types" => text.push_str("Types: deb\n"),
                        "suites" => text.push_str(&format!("Suites: {suite}\n")),
                        _ => text.push_str(&format!("{name}:{value}\n")),
                    }
                }
                (dir.join(format!("{suite}.sources")), text)
            }
        }
    }
}

/// The active sources of a file; `.sources` is deb822, everything else one-line.
pub fn parse(file: &Path, text: &str) -> Vec<Source> {
    if file.extension().is_some_and(|end| end == "sources") {
        stanzas(file, text)
    } else {
        text.lines().filter_map(|line| one_line(file, line)).collect()
    }
}

fn one_line(file: &Path, line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None; // deb-src
    }
    let rest = rest.trim_start();
    // Options may hold spaces.
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (options, rest) = inner.split_once(']')?;
            (format!("[{options}] "), rest)
        }
        None => (String::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source {
        file: file.to_path_buf(),
        suites: vec![suite.to_string()],
        components: words.map(str::to_string).collect(),
        form: Form::Line { before_suite: format!("deb {options}{uri}") },
    })
}

fn stanzas(file: &Path, text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(stanza(file, std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.to_string(), value.trim_end().to_string()));
        }
    }
    sources
}

fn stanza(file: &Path, fields: Vec<(String, String)>) -> Option<Source> {
    let words = |name: &str| -> Vec<String> {
        let field = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.split_whitespace().map(str::to_string).collect()).unwrap_or_default()
    };
    let off = words("enabled")
        .first()
        .is_some_and(|word| ["no", "false", "0", "off", "without", "disable"].contains(&word.to_ascii_lowercase().as_str()));
    if off || !words("types").iter().any(|word| word == "deb") || words("uris").is_empty() {
        return None;
    }
    Some(Source { file: file.to_path_buf(), suites: words("suites"), components: words("components"), form: Form::Stanza(fields) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_format() {
        let text = "# deb http://old.example/ bookworm main\n\
                    deb-src http://mirror.example/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian bookworm main contrib # ours\n\
                    deb http://mirror.example/debian-security bookworm-security main\n";
        let sources = parse(Path::new("/etc/apt/sources.list"), text);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].suites, ["bookworm"]);
        assert_eq!(
            sources[0].with_suite("bookworm-backports"),
            (
                PathBuf::from("/etc/apt/sources.list.d/bookworm-backports.list"),
                "deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian bookworm-backports main contrib\n"
                    .to_string()
            )
        );
    }

    #[test]
    fn stanza_format() {
        let text = "Types: deb deb-src\n# http://snapshot.example/\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
                    Components: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n\n\n\
                    Types: deb\nEnabled: no\nURIs: http://x.example\nSuites: bookworm-backports\nComponents: main\n\n\
                    types: deb-src\nURIs: http://x.example\nSuites: bookworm\nComponents: main\n";
        let sources = parse(Path::new("/etc/apt/sources.list.d/debian.sources"), text);
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
        let (path, text) = sources[0].with_suite("bookworm-backports");
        assert_eq!(path, PathBuf::from("/etc/apt/sources.list.d/bookworm-backports.sources"));
        assert_eq!(
            text,
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\nSigned-By:\n \
             -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
        );
        // What is written is read back as an active source of that suite.
        assert_eq!(parse(&path, &text)[0].suites, ["bookworm-backports"]);
    }
}
