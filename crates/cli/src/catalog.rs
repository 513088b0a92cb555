//! What there is to command: resources, fields and actions, read from the documents the services make of themselves.

use serde_json::Value as Json;
use std::sync::OnceLock;

/// A service, by its document and its word in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Compute,
    Image,
    Identity,
}

impl Service {
    pub const ALL: [Service; 3] = [Service::Compute, Service::Image, Service::Identity];

    /// Type in the catalogue.
    pub fn kind(self) -> &'static str {
        match self {
            Service::Compute => "compute_v2",
            Service::Image => "image",
            Service::Identity => "identity",
        }
    }

    /// What people call it.
    pub fn word(self) -> &'static str {
        match self {
            Service::Compute => "compute",
            Service::Image => "image",
            Service::Identity => "identity",
        }
    }

    pub fn from_word(word: &str) -> Option<Service> {
        Service::ALL.into_iter().find(|s| s.word() == word)
    }

    fn document(self) -> &'static str {
        match self {
            Service::Compute => include_str!("../../../docs/openapi/compute.json"),
            Service::Image => include_str!("../../../docs/openapi/image.json"),
            Service::Identity => include_str!("../../../docs/openapi/identity.json"),
        }
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Text,
    /// Text that is not shown: a password.
    Secret,
    Int,
    Float,
    Bool,
    Any,
}

#[derive(Clone, Debug)]
pub struct Field {
    /// As on the wire.
    pub name: String,
    pub kind: Type,
    pub doc: String,
    pub required: bool,
    pub default: String,
}

impl Field {
    /// As on the command line.
    pub fn long(&self) -> String {
        self.name.replace('_', "-")
    }
}

#[derive(Clone, Debug)]
pub struct Action {
    pub name: String,
    pub doc: String,
    pub inputs: Vec<Field>,
}

#[derive(Clone, Debug, Default)]
pub struct Resource {
    /// Singular keyword on the wire.
    pub name: String,
    pub plural: String,
    /// Where it is; several for what every service keeps, as events.
    pub services: Vec<Service>,
    pub doc: String,
    pub filters: Vec<Field>,
    pub create: Option<Vec<Field>>,
    pub update: Option<Vec<Field>>,
    pub delete: bool,
    pub actions: Vec<Action>,
    /// Properties that are fetched on their own.
    pub specs: Vec<(String, String)>,
}

impl Resource {
    /// The word on the command line.
    pub fn word(&self) -> String {
        self.name.replace('_', "-")
    }
}

/// Every resource, sorted by name.
pub fn resources() -> &'static [Resource] {
    static ALL: OnceLock<Vec<Resource>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: Vec<Resource> = Vec::new();
        for service in Service::ALL {
            let document: Json = serde_json::from_str(service.document()).expect("a golden file is JSON");
            for found in read(service, &document) {
                match all.iter_mut().find(|r| r.name == found.name) {
                    Some(known) => known.services.push(service),
                    None => all.push(found),
                }
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    })
}

/// A resource by its word on the command line.
pub fn resource(word: &str) -> Option<&'static Resource> {
    resources().iter().find(|r| r.word() == word)
}

/// Words of the list that are options of their own.
pub const LIST_WORDS: [&str; 9] = ["limit", "offset", "search", "order_by", "order", "scope", "details", "filter", "field"];

fn read(service: Service, document: &Json) -> Vec<Resource> {
    let mut out = Vec::new();
    let Some(paths) = document["paths"].as_object() else { return out };
    for (path, class) in paths {
        let list = &class["get"]["operationId"];
        let Some(name) = list.as_str().and_then(|id| id.strip_suffix("-list")) else { continue };
        let plural = path.trim_start_matches('/').to_string();
        if plural.contains('/') {
            continue;
        }
        let schema = &document["components"]["schemas"][name];
        let single_path = format!("{path}/{{id}}");
        let single = paths.get(&single_path).unwrap_or(&Json::Null);
        let mut resource = Resource {
            name: name.to_string(),
            plural,
            services: vec![service],
            doc: text(&schema["description"]),
            filters: filters(&class["get"]["parameters"]),
            create: class.get("post").map(|post| inputs(post, name)),
            update: single.get("put").map(|put| inputs(put, name)),
            delete: single.get("delete").is_some(),
            ..Resource::default()
        };
        for (inner, item) in paths {
            let Some(word) = inner.strip_prefix(&single_path).and_then(|rest| rest.strip_prefix('/')) else { continue };
            // Lists inside other rows and paths beside the resources are no actions and properties.
            let own = |method: &str| item.get(method).filter(|operation| operation["x-by-hand"].is_null());
            if let Some(post) = own("post") {
                resource.actions.push(Action { name: word.to_string(), doc: text(&post["summary"]), inputs: inputs(post, name) });
            }
            if let Some(get) = own("get") {
                resource.specs.push((word.to_string(), text(&get["summary"])));
            }
        }
        out.push(resource);
    }
    out
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().trim().to_string()
}

fn kind(schema: &Json) -> Type {
    match schema["type"].as_str() {
        Some("string") if schema["format"] == "password" => Type::Secret,
        Some("string") => Type::Text,
        Some("integer") => Type::Int,
        Some("number") => Type::Float,
        Some("boolean") => Type::Bool,
        _ => Type::Any,
    }
}

fn filters(parameters: &Json) -> Vec<Field> {
    let all = parameters.as_array().map(Vec::as_slice).unwrap_or_default();
    let field = |p: &Json| Field {
        name: text(&p["name"]),
        kind: kind(&p["schema"]),
        doc: text(&p["description"]),
        required: false,
        default: String::new(),
    };
    all.iter().map(field).filter(|f| !LIST_WORDS.contains(&f.name.as_str())).collect()
}

fn inputs(operation: &Json, name: &str) -> Vec<Field> {
    let body = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"][name];
    let required: Vec<&str> = body["required"].as_array().map(|r| r.iter().filter_map(Json::as_str).collect()).unwrap_or_default();
    let Some(properties) = body["properties"].as_object() else { return Vec::new() };
    let field = |(name, schema): (&String, &Json)| Field {
        name: name.clone(),
        kind: kind(schema),
        doc: text(&schema["description"]),
        required: required.contains(&name.as_str()),
        default: match &schema["default"] {
            Json::Null => String::new(),
            Json::String(s) => s.clone(),
            other => other.to_string(),
        },
    };
    // What every create takes has no option of its own with each.
    properties.iter().filter(|(_, schema)| schema["x-everywhere"].is_null()).map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_understood() {
        let server = resource("server").expect("servers");
        assert_eq!((server.plural.as_str(), server.services.as_slice()), ("servers", &[Service::Compute][..]));
        let create = server.create.as_ref().expect("servers are created");
        let memory = create.iter().find(|f| f.name == "vmem_size").expect("memory");
        assert!(memory.kind == Type::Int && memory.doc.contains("MiB"), "{memory:?}");
        assert!(server.actions.iter().any(|a| a.name == "stop" && a.inputs.iter().any(|i| i.name == "timeout_secs")));
        assert!(server.delete && server.specs.iter().any(|(name, _)| name == "desc"));
        assert!(resource("image").is_some() && resource("user").is_some() && resource("task").is_some());
        assert_eq!(resource("event").expect("events").services.len(), 3);
        let sku = resource("serversku").expect("SKUs").create.as_ref().expect("SKUs are created");
        assert!(sku.iter().any(|f| f.name == "cpu_core_count" && f.required));
    }
}
