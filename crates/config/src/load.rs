//! From the sources to the struct: a serde deserializer that knows where every value stands.
//!
//! serde stops at the first mistake. To report all, a bad value is noted, left out (its default stands in) and the struct is read again,
//! until nothing new is found.

use crate::tree::{Place, Tree, Value, parse};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Where configuration comes from. Later fields outrank earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Name (for messages) and text of the file.
    pub file: Option<(String, String)>,
    /// The process's environment; what does not begin with `WOLKE_` is ignored.
    pub environment: Vec<(String, String)>,
    /// Variables with the prefix that mean something else, such as `WOLKE_LOG`.
    pub other_variables: Vec<String>,
    /// Dotted key and text, from the command line.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    /// The file (when given) and the environment of this process. A file that cannot be read is a problem like any other.
    pub fn of_process(file: Option<&std::path::Path>, overrides: Vec<(String, String)>) -> Result<Sources, Problems> {
        let read = |path: &std::path::Path| match std::fs::read_to_string(path) {
            Ok(text) => Ok((path.display().to_string(), text)),
            Err(e) => Err(Problems(vec![Problem { place: path.display().to_string(), key: String::new(), what: e.to_string() }])),
        };
        Ok(Sources {
            file: file.map(read).transpose()?,
            environment: std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect(),
            other_variables: vec!["WOLKE_LOG".to_string()],
            overrides,
        })
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `wolke.toml:12`, `WOLKE_HTTP_PORT` or `command line`.
    pub place: String,
    /// The dotted key; empty when the whole file is meant.
    pub key: String,
    pub what: String,
}

/// All mistakes, one a line when printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, p) in self.0.iter().enumerate() {
            let line = if i == 0 { "" } else { "\n" };
            match p.key.as_str() {
                "" => write!(f, "{line}{}: {}", p.place, p.what)?,
                key => write!(f, "{line}{}: {key}: {}", p.place, p.what)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Reads the configuration of a type, or says everything that is wrong with it.
pub fn load<T: DeserializeOwned>(sources: &Sources) -> Result<T, Problems> {
    let file_name = sources.file.as_ref().map_or("configuration", |(name, _)| name);
    let file = match &sources.file {
        Some((name, text)) => Some(parse(text).map_err(|(line, what)| {
            Problems(vec![Problem { place: format!("{name}:{line}"), key: String::new(), what: what.trim().to_string() }])
        })?),
        None => None,
    };
    let mut overrides = Tree::empty(Place::Override);
    for (key, text) in &sources.overrides {
        overrides.put(key, text);
    }
    let run = Run {
        variables: sources.environment.iter().filter(|(k, _)| k.starts_with(PREFIX)).map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        used: RefCell::default(),
        skip: RefCell::default(),
        unknown: RefCell::default(),
    };
    let place = |place: &Place| match place {
        Place::Line(n) => format!("{file_name}:{n}"),
        Place::Variable(name) => name.clone(),
        Place::Override => "command line".to_string(),
    };
    let mut problems = Vec::new();
    let value = loop {
        let root = Node { run: &run, key: String::new(), file: file.as_ref(), over: Some(&overrides), variable: None };
        match T::deserialize(root) {
            Ok(value) => break Some(value),
            Err(Fault { at: Some((key, at)), what, missing }) if !run.skip.borrow().contains(&key) => {
                if !missing.is_some_and(|m| run.skip.borrow().contains(&join(&key, m))) {
                    problems.push(Problem { place: place(&at), key: key.clone(), what });
                }
                run.skip.borrow_mut().insert(key);
            }
            Err(Fault { what, missing, .. }) => {
                if !missing.is_some_and(|m| run.skip.borrow().contains(m)) {
                    problems.push(Problem { place: file_name.to_string(), key: String::new(), what });
                }
                break None;
            }
        }
    };
    let unknown = run
        .unknown
        .borrow()
        .iter()
        .map(|(key, at)| Problem { place: place(at), key: key.clone(), what: "unknown key".to_string() })
        .collect::<Vec<_>>();
    problems.extend(unknown);
    for name in run.variables.keys().filter(|n| !run.used.borrow().contains(**n) && !sources.other_variables.iter().any(|o| o == *n)) {
        problems.push(Problem { place: (*name).to_string(), key: String::new(), what: "no key has this variable".to_string() });
    }
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(Problems(problems)),
    }
}

const PREFIX: &str = "WOLKE_";

struct Run<'a> {
    variables: BTreeMap<&'a str, &'a str>,
    used: RefCell<BTreeSet<String>>,
    /// Keys already complained about.
    skip: RefCell<BTreeSet<String>>,
    unknown: RefCell<BTreeMap<String, Place>>,
}

/// A key with what the sources say of it.
struct Node<'a> {
    run: &'a Run<'a>,
    key: String,
    file: Option<&'a Tree>,
    over: Option<&'a Tree>,
    variable: Option<Tree>,
}

/// A mistake on its way up; the place is added by the first table it passes.
#[derive(Debug)]
struct Fault {
    at: Option<(String, Place)>,
    what: String,
    missing: Option<&'static str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
impl std::error::Error for Fault {}
impl de::Error for Fault {
    fn custom<M: fmt::Display>(msg: M) -> Fault {
        Fault { at: None, what: msg.to_string(), missing: None }
    }
    fn missing_field(field: &'static str) -> Fault {
        Fault { at: None, what: format!("{field} must be set"), missing: Some(field) }
    }
}

fn join(key: &str, field: &str) -> String {
    if key.is_empty() { field.to_string() } else { format!("{key}.{field}") }
}

impl<'a> Node<'a> {
    fn child(&self, field: &str) -> Option<Node<'a>> {
        let key = join(&self.key, field);
        let name = format!("{PREFIX}{}", key.replace(['.', '-'], "_").to_uppercase());
        let variable = self.run.variables.get(name.as_str()).map(|text| {
            self.run.used.borrow_mut().insert(name.clone());
            Tree { place: Place::Variable(name.clone()), value: Value::Raw((*text).to_string()) }
        });
        let below = format!("{name}_");
        let file = self.file.and_then(|t| t.get(field));
        let over = self.over.and_then(|t| t.get(field));
        let there = file.is_some()
            || over.is_some()
            || variable.is_some()
            || self.run.variables.range(below.as_str()..).next().is_some_and(|(k, _)| k.starts_with(&below));
        let wanted = there && !self.run.skip.borrow().contains(&key);
        wanted.then_some(Node { run: self.run, key, file, over, variable })
    }

    /// The value that counts, when it is not a table put together from several sources.
    fn value(&self) -> Option<&Tree> {
        let over = self.over.filter(|t| !matches!(t.value, Value::Table(_)));
        over.or(self.variable.as_ref()).or(self.file)
    }

    fn place(&self) -> Place {
        self.value().or(self.over).map_or(Place::Line(1), |t| t.place.clone())
    }

    fn table(&self) -> Result<(), Fault> {
        match self.value().map(|t| &t.value) {
            None | Some(Value::Table(_)) => Ok(()),
            Some(other) => Err(wrong(other, "a table")),
        }
    }

    fn fields(self, names: Vec<String>) -> Fields<'a> {
        let children = names.into_iter().rev().filter_map(|n| self.child(&n).map(|c| (n, c))).collect();
        Fields { children, next: None }
    }

    fn keys(&self) -> BTreeSet<&'a String> {
        let of = |t: Option<&'a Tree>| match t.map(|t| &t.value) {
            Some(Value::Table(map)) => map.keys().collect(),
            _ => Vec::new(),
        };
        of(self.file).into_iter().chain(of(self.over)).collect()
    }
}

fn wrong(value: &Value, want: &str) -> Fault {
    let got = match value {
        Value::Text(_) | Value::Raw(_) => "text",
        Value::Int(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Bool(_) => "true or false",
        Value::List(_) => "a list",
        Value::Table(_) => "a table",
    };
    // What was written is not repeated: it may be a password in the wrong place.
    Fault { at: None, what: format!("expected {want}, got {got}"), missing: None }
}

macro_rules! whole_numbers {
    ($($method:ident),*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.value().map(|t| &t.value) {
                Some(Value::Int(n)) => visitor.visit_i64(*n),
                Some(Value::Raw(text)) => match text.trim().parse::<i64>() {
                    Ok(n) => visitor.visit_i64(n),
                    Err(_) => Err(wrong(&Value::Raw(String::new()), "a whole number")),
                },
                Some(other) => Err(wrong(other, "a whole number")),
                None => Err(wrong(&Value::Table(BTreeMap::new()), "a whole number")),
            }
        }
    )* };
}

impl<'de> de::Deserializer<'de> for Node<'_> {
    type Error = Fault;

    whole_numbers!(
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_u8,
        deserialize_u16,
        deserialize_u32,
        deserialize_u64
    );

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value().map(|t| &t.value) {
            Some(Value::Bool(b)) => visitor.visit_bool(*b),
            Some(Value::Raw(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => visitor.visit_bool(true),
                "false" | "no" | "off" | "0" => visitor.visit_bool(false),
                _ => Err(wrong(&Value::Raw(String::new()), "true or false")),
            },
            Some(other) => Err(wrong(other, "true or false")),
            None => Err(wrong(&Value::Table(BTreeMap::new()), "true or false")),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value().map(|t| &t.value) {
            Some(Value::Float(n)) => visitor.visit_f64(*n),
            Some(Value::Int(n)) => visitor.visit_f64(*n as f64),
            Some(Value::Raw(text)) => match text.trim().parse::<f64>() {
                Ok(n) => visitor.visit_f64(n),
                Err(_) => Err(wrong(&Value::Raw(String::new()), "a number")),
            },
            Some(other) => Err(wrong(other, "a number")),
            None => Err(wrong(&Value::Table(BTreeMap::new()), "a number")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value().map(|t| &t.value) {
            Some(Value::Text(s) | Value::Raw(s)) => visitor.visit_str(s),
            Some(other) => Err(wrong(other, "text")),
            None => Err(wrong(&Value::Table(BTreeMap::new()), "text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, names: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.table()?;
        for key in self.keys().into_iter().filter(|k| !names.contains(&k.as_str())) {
            let place =
                self.over.and_then(|t| t.get(key)).or(self.file.and_then(|t| t.get(key))).map_or(Place::Override, |t| t.place.clone());
            self.run.unknown.borrow_mut().insert(join(&self.key, key), place);
        }
        visitor.visit_map(self.fields(names.iter().map(|n| (*n).to_string()).collect()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.table()?;
        let names = self.keys().into_iter().cloned().collect();
        visitor.visit_map(self.fields(names))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let items: Vec<Tree> = match self.value() {
            Some(Tree { value: Value::List(items), .. }) => items.clone(),
            Some(Tree { value: Value::Raw(text), place }) => {
                let part = |p: &str| Tree { place: place.clone(), value: Value::Raw(p.trim().to_string()) };
                if text.trim().is_empty() { Vec::new() } else { text.split(',').map(part).collect() }
            }
            Some(other) => return Err(wrong(&other.value, "a list")),
            None => return Err(wrong(&Value::Table(BTreeMap::new()), "a list")),
        };
        visitor.visit_seq(Items { run: self.run, key: self.key, items: items.into_iter().enumerate() })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    /// Enums are words: `format = "json"`.
    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        match self.value().map(|t| &t.value) {
            Some(Value::Text(s) | Value::Raw(s)) => visitor.visit_enum(s.trim().to_string().into_deserializer()),
            Some(other) => Err(wrong(other, "a word")),
            None => Err(wrong(&Value::Table(BTreeMap::new()), "a word")),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value().map(|t| &t.value) {
            Some(Value::Text(s) | Value::Raw(s)) => visitor.visit_str(s),
            Some(Value::Int(n)) => visitor.visit_i64(*n),
            Some(Value::Float(n)) => visitor.visit_f64(*n),
            Some(Value::Bool(b)) => visitor.visit_bool(*b),
            Some(Value::List(_)) => self.deserialize_seq(visitor),
            Some(Value::Table(_)) | None => self.deserialize_map(visitor),
        }
    }

    serde::forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct identifier ignored_any }
}

struct Fields<'a> {
    /// Last one first.
    children: Vec<(String, Node<'a>)>,
    next: Option<Node<'a>>,
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((name, node)) = self.children.pop() else { return Ok(None) };
        self.next = Some(node);
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(node) = self.next.take() else { return Err(de::Error::custom("a value without its key")) };
        placed(node, seed)
    }
}

struct Items<'a> {
    run: &'a Run<'a>,
    key: String,
    items: std::iter::Enumerate<std::vec::IntoIter<Tree>>,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        loop {
            let Some((i, item)) = self.items.next() else { return Ok(None) };
            let key = join(&self.key, &i.to_string());
            if !self.run.skip.borrow().contains(&key) {
                return placed(Node { run: self.run, key, file: Some(&item), over: None, variable: None }, seed).map(Some);
            }
        }
    }
}

fn placed<'de, S: DeserializeSeed<'de>>(node: Node<'_>, seed: S) -> Result<S::Value, Fault> {
    let at = (node.key.clone(), node.place());
    seed.deserialize(node).map_err(|fault| Fault { at: fault.at.or(Some(at)), ..fault })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Period, Secret};
    use serde::Deserialize;
    use std::collections::HashMap;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Options {
        listen: String,
        http: Http,
        peers: Vec<Peer>,
        labels: HashMap<String, String>,
        password: Secret,
        every: Period,
        names: Vec<String>,
        mode: Mode,
        ratio: Option<f64>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Http {
        port: u16,
        head_size: usize,
        cors: bool,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Peer {
        url: String,
        #[serde(default)]
        weight: u32,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        #[default]
        One,
        Many,
    }

    fn sources(file: &str, environment: &[(&str, &str)], overrides: &[(&str, &str)]) -> Sources {
        let own = |list: &[(&str, &str)]| list.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Sources {
            file: Some(("w.toml".into(), file.into())),
            environment: own(environment),
            other_variables: vec!["WOLKE_LOG".into()],
            overrides: own(overrides),
        }
    }

    #[test]
    fn later_sources_win_key_by_key() {
        let file = "
listen = 'a'
every = '5m'
mode = 'many'
[http]
port = 80
head_size = 0x1000
[[peers]]
url = 'u'
[labels]
zone = 'z'
";
        let env = [
            ("WOLKE_HTTP_PORT", "81"),
            ("WOLKE_HTTP_HEAD_SIZE", "9"),
            ("WOLKE_PASSWORD", "12345"),
            ("WOLKE_NAMES", "x, y"),
            ("WOLKE_LOG", "debug"),
            ("PATH", "/"),
        ];
        let over = [("http.port", "82"), ("http.cors", "on"), ("ratio", "0.5"), ("labels.rack", "r")];
        let got: Options = load(&sources(file, &env, &over)).unwrap();
        let want = Options {
            listen: "a".into(),
            http: Http { port: 82, head_size: 9, cors: true },
            peers: vec![Peer { url: "u".into(), weight: 0 }],
            labels: [("zone".to_string(), "z".to_string()), ("rack".to_string(), "r".to_string())].into(),
            password: Secret::new("12345"),
            every: Period::secs(300),
            names: vec!["x".into(), "y".into()],
            mode: Mode::Many,
            ratio: Some(0.5),
        };
        assert_eq!(got, want);
        assert!(load::<Options>(&sources("", &[("WOLKE_HTTP_CORS", "1")], &[])).unwrap().http.cors);
    }

    #[test]
    fn every_mistake_is_reported_at_its_place() {
        let file = "
lisen = 'typo'
mode = 'several'
every = 'soon'
[http]
port = 70000
[[peers]]
url = 5
[[peers]]
weight = 1
[htp]
port = 1
";
        let env = [("WOLKE_HTTP_HEAD_SIZE", "big"), ("WOLKE_HTTP_PROT", "1")];
        let problems = load::<Options>(&sources(file, &env, &[("password", "p"), ("names.0", "x")])).unwrap_err();
        let mut lines: Vec<String> = problems.to_string().lines().map(str::to_string).collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "WOLKE_HTTP_HEAD_SIZE: http.head_size: expected a whole number, got text",
                "WOLKE_HTTP_PROT: no key has this variable",
                "command line: names: expected a list, got a table",
                "w.toml:11: htp: unknown key",
                "w.toml:2: lisen: unknown key",
                "w.toml:3: mode: unknown variant `several`, expected `one` or `many`",
                "w.toml:4: every: invalid value: string \"soon\", expected a length of time such as 30s, 5m, 2h or 1d",
                "w.toml:6: http.port: invalid value: integer `70000`, expected u16",
                "w.toml:8: peers.0.url: expected text, got a whole number",
                "w.toml:9: peers.1: url must be set",
            ]
        );
    }

    #[test]
    fn a_broken_file_names_the_line_and_a_secret_is_not_repeated() {
        let problems = load::<Options>(&sources("listen = 'a'\nhttp = [\n", &[], &[])).unwrap_err();
        assert!(problems.0.len() == 1 && problems.0[0].place.starts_with("w.toml:"), "{problems}");
        let problems = load::<Options>(&sources("password = 987654\n", &[], &[])).unwrap_err();
        assert!(problems.to_string().contains("password") && !problems.to_string().contains("987654"), "{problems}");
    }

    #[test]
    fn a_required_key_is_named() {
        #[derive(Debug, Deserialize)]
        struct Strict {
            #[allow(dead_code)]
            id: String,
        }
        let problems = load::<Strict>(&Sources::default()).unwrap_err();
        assert_eq!(problems.to_string(), "configuration: id must be set");
    }
}
