//! The OpenAPI document, made from the same facts the engine walks.

use crate::{ActionFact, Engine, Extra, Input, Kind, standard};
use base::{Flags, Json, Kind as Cell, Level};
use serde_json::json;

/// A path a service routes by hand, described beside its route.
#[derive(Clone, Copy, Debug)]
pub struct ByHand {
    /// In small letters.
    pub method: &'static str,
    /// With its parameters, as in `/usages/{of}/{id}`.
    pub path: &'static str,
    /// Names it among all operations of the service.
    pub id: &'static str,
    pub doc: &'static str,
    pub query: &'static [Input],
    /// The wrapping key and what is in it.
    pub body: Option<(&'static str, &'static [Input])>,
}

/// Marks what is described beside the resources, so that programs made from the document do not take it for one of their actions.
const BY_HAND: &str = "x-by-hand";
/// Marks what a create of every kind takes.
const EVERYWHERE: &str = "x-everywhere";

/// Adds such paths to a document.
pub fn add_by_hand(document: &mut Json, prefix: &str, all: &[ByHand]) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for one in all {
        let mut operation = json!({
            BY_HAND: true, "operationId": one.id, "tags": [one.path.split('/').nth(1).unwrap_or_default()], "summary": one.doc,
            "responses": {"200": {"description": "done", "content": {"application/json": {"schema": {"type": "object"}}}}},
        });
        if !one.query.is_empty() {
            operation["parameters"] = one.query.iter().map(|i| query(i.name, i.doc, i.kind)).collect();
        }
        if let Some((key, inputs)) = one.body {
            let properties: serde_json::Map<String, Json> = inputs.iter().map(|i| (i.name.to_string(), input(i))).collect();
            let required: Vec<&str> = inputs.iter().filter(|i| i.required).map(|i| i.name).collect();
            let inner = json!({"type": "object", "properties": properties, "required": required});
            let schema = if key.is_empty() { inner } else { json!({"type": "object", "properties": {key: inner}}) };
            operation["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
        }
        let item = paths.entry(format!("{prefix}{}", one.path)).or_insert_with(|| {
            let named = one.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
            let named: Vec<Json> =
                named.map(|n| json!({"name": n, "in": "path", "required": true, "schema": {"type": "string"}})).collect();
            if named.is_empty() { json!({}) } else { json!({"parameters": named}) }
        });
        item[one.method] = operation;
    }
}

fn query(name: &str, doc: &str, kind: Cell) -> Json {
    json!({"name": name, "in": "query", "description": doc, "schema": schema_of(kind)})
}

fn input(input: &Input) -> Json {
    let mut schema = schema_of(input.kind);
    schema["description"] = Json::from(input.doc);
    schema
}

impl Engine {
    /// The `paths` and `components.schemas` of this service under a URL prefix.
    pub fn openapi(&self, prefix: &str, version: &str) -> Json {
        let (mut paths, mut schemas) = (serde_json::Map::new(), serde_json::Map::new());
        for kind in self.kinds() {
            describe(kind, prefix, &mut paths, &mut schemas);
        }
        for kind in self.kinds() {
            self.describe_contexts(kind, prefix, &mut paths);
        }
        json!({
            "openapi": "3.1.0",
            "info": {"title": format!("Wolke {}", self.service), "version": version, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
            "components": {
                "schemas": schemas,
                "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
            },
            "security": [{"token": []}],
            "paths": paths,
        })
    }
}

fn schema_of(kind: Cell) -> Json {
    match kind {
        Cell::Text => json!({"type": "string"}),
        Cell::Int => json!({"type": "integer", "format": "int64"}),
        Cell::Float => json!({"type": "number"}),
        Cell::Bool => json!({"type": "boolean"}),
        Cell::Time => json!({"type": "string", "format": "date-time"}),
        Cell::Json => json!({}),
    }
}

/// What the engine itself takes of a create of any kind, and whether of this one.
fn everywhere(kind: &Kind) -> [(Input, bool); 5] {
    let one = |name, kind, doc| Input { name, kind, required: false, doc };
    let owned = kind.parent.is_none();
    [
        (one("generate_name", Cell::Text, "Pattern of a name that is not taken yet, instead of a name: `vm-##`."), kind.facts.has("name")),
        (one("dry_run", Cell::Bool, "Check everything, make nothing."), true),
        (one("__meta__", Cell::Json, "Tags it is born with, as an object."), kind.facts.has("update_version")),
        (
            one("project_id", Cell::Text, "Project it belongs to, by id or name; left out: the caller's."),
            owned && kind.facts.level == Level::Project,
        ),
        (
            one("project_domain_id", Cell::Text, "Domain of that project, or of the object itself, by id or name; left out: the caller's."),
            owned && matches!(kind.facts.level, Level::Project | Level::Domain),
        ),
    ]
}

impl Engine {
    /// Lists of a kind inside rows of others, and ties between two: `/servers/{id}/disks`, `/servers/{id}/disks/{other}`.
    fn describe_contexts(&self, kind: &Kind, prefix: &str, paths: &mut serde_json::Map<String, Json>) {
        let name = kind.facts.name;
        let sides = kind.joint.iter().flat_map(|j| [(j.master.0, j.slave.0), (j.slave.0, j.master.0)]);
        let inside = kind.contexts.iter().map(|(outer, _)| (*outer, kind.facts.plural));
        let parameter =
            |n: &str, doc: &str| json!({"name": n, "in": "path", "required": true, "schema": {"type": "string"}, "description": doc});
        let object = |key: &str, what: Json| json!({"200": {"description": "done", "content": {"application/json": {"schema": {"type": "object", "properties": {key: what}}}}}});
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        for (outer, word) in sides.chain(inside) {
            if self.kind(outer).is_none() {
                continue;
            }
            let path = format!("{prefix}/{outer}/{{id}}/{word}");
            let list = json!({
                BY_HAND: true, "operationId": format!("{outer}-{word}-in"), "tags": [outer], "summary": format!("List {} of one of {outer}.", kind.facts.plural),
                "responses": object(kind.facts.plural, json!({"type": "array", "items": reference})),
            });
            paths.entry(path.clone()).or_insert_with(|| json!({"parameters": [parameter("id", "id or name")], "get": list}));
            let one = json!({
                BY_HAND: true, "operationId": format!("{outer}-{word}-one"), "tags": [outer], "summary": format!("Show one of {} there.", kind.facts.plural),
                "responses": object(name, reference.clone()),
            });
            paths
                .entry(format!("{path}/{{other}}"))
                .or_insert_with(|| json!({"parameters": [parameter("id", "id or name"), parameter("other", "id or name")], "get": one}));
        }
    }
}

fn describe(kind: &Kind, prefix: &str, paths: &mut serde_json::Map<String, Json>, schemas: &mut serde_json::Map<String, Json>) {
    let facts = kind.facts;
    let object = |keep: &dyn Fn(Flags) -> bool| {
        let mut properties = serde_json::Map::new();
        let mut required = Vec::new();
        for field in facts.fields.iter().filter(|f| keep(f.flags)) {
            let mut schema = schema_of(field.kind);
            schema["description"] = Json::from(field.doc);
            if let Some(default) = field.default {
                schema["default"] = base::Value::parse(field.kind, default).map_or(Json::Null, |v| v.to_json());
            }
            properties.insert(field.name.to_string(), schema);
            if field.flags.has(Flags::REQUIRED) {
                required.push(field.name);
            }
        }
        (properties, required)
    };
    let extras = |properties: &mut serde_json::Map<String, Json>, required: Option<&mut Vec<&'static str>>, keep: fn(&Extra) -> bool| {
        for extra in kind.extras.iter().filter(|e| keep(e)) {
            let mut schema = input(&extra.input);
            if !extra.parts.is_empty() {
                let parts: serde_json::Map<String, Json> = extra.parts.iter().map(|i| (i.name.to_string(), input(i))).collect();
                schema["type"] = Json::from("array");
                schema["items"] = json!({"oneOf": [{"type": "string"}, {"type": "object", "properties": parts}]});
            }
            if extra.secret {
                schema["format"] = Json::from("password");
                schema["writeOnly"] = Json::from(true);
            }
            properties.insert(extra.input.name.to_string(), schema);
        }
        if let Some(required) = required {
            required.extend(kind.extras.iter().filter(|e| keep(e) && e.input.required).map(|e| e.input.name));
        }
    };
    let (shown, _) = object(&|f| !f.has(Flags::HIDDEN));
    schemas.insert(facts.name.to_string(), json!({"type": "object", "description": facts.doc, "properties": shown}));
    let reference = json!({"$ref": format!("#/components/schemas/{}", facts.name)});
    let one = || json!({"200": {"description": "the object", "content": {"application/json": {"schema": {"type": "object", "properties": {facts.name: reference}}}}}});
    let body = |properties: Json, required: Vec<&str>| json!({"content": {"application/json": {"schema": {"type": "object", "properties": {facts.name: {"type": "object", "properties": properties, "required": required}}}}}});
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}, "description": "id or name"});

    let mut filters: Vec<Json> = ["limit", "offset", "search", "order_by", "order", "scope", "details", "filter", "field"]
        .iter()
        .map(|n| json!({"name": n, "in": "query", "schema": {"type": "string"}}))
        .collect();
    let said = |f: &&base::Field| f.name != "scope" && (f.flags.has(Flags::FILTER) || f.refers.is_some());
    for field in facts.fields.iter().filter(said) {
        filters.push(json!({"name": field.name, "in": "query", "description": field.doc, "schema": schema_of(field.kind)}));
    }
    let page = json!({"type": "object", "properties": {facts.plural: {"type": "array", "items": reference}, "total": {"type": "integer"}, "limit": {"type": "integer"}, "offset": {"type": "integer"}}});
    let mut class = json!({"get": {
        "operationId": format!("{}-list", facts.name), "tags": [facts.plural], "summary": format!("List {}.", facts.plural), "parameters": filters,
        "responses": {"200": {"description": "a page", "content": {"application/json": {"schema": page}}}},
    }});
    if kind.creatable {
        let (mut properties, mut required) = object(&|f| f.has(Flags::CREATE));
        extras(&mut properties, Some(&mut required), |e| e.create);
        for (always, wanted) in everywhere(kind) {
            if wanted && !properties.contains_key(always.name) {
                let mut schema = input(&always);
                schema[EVERYWHERE] = Json::from(true);
                properties.insert(always.name.to_string(), schema);
            }
        }
        let mut request = body(Json::Object(properties), required);
        if !facts.has("count") {
            let count =
                json!({"type": "integer", "description": "How many to make, 1 to 500; of several the answer has one element for each."});
            request["content"]["application/json"]["schema"]["properties"]["count"] = count;
        }
        class["post"] = json!({
            "operationId": format!("{}-create", facts.name), "tags": [facts.plural], "summary": facts.doc,
            "requestBody": request, "responses": one(),
        });
    }
    paths.insert(format!("{prefix}/{}", facts.plural), class);

    let mut single = json!({
        "parameters": [id],
        "get": {"operationId": format!("{}-show", facts.name), "tags": [facts.plural], "summary": "Show one.", "responses": one()},
    });
    let (mut properties, _) = object(&|f| f.has(Flags::UPDATE));
    extras(&mut properties, None, |e| e.update);
    if !properties.is_empty() {
        single["put"] = json!({
            "operationId": format!("{}-update", facts.name), "tags": [facts.plural], "summary": "Change the given fields.",
            "requestBody": body(Json::Object(properties), Vec::new()), "responses": one(),
        });
    }
    if kind.deletable {
        single["delete"] =
            json!({"operationId": format!("{}-delete", facts.name), "tags": [facts.plural], "summary": "Delete.", "responses": one()});
    }
    paths.insert(format!("{prefix}/{}/{{id}}", facts.plural), single);

    let actions: Vec<ActionFact> = standard::actions(kind).into_iter().chain(kind.actions().copied()).collect();
    for action in actions {
        let properties: serde_json::Map<String, Json> = action
            .inputs
            .iter()
            .map(|i| {
                let mut schema = schema_of(i.kind);
                schema["description"] = Json::from(i.doc);
                // What is named so is one: asked for rather than typed where others look on.
                if i.name == "password" || i.name.ends_with("_password") && i.kind == base::Kind::Text {
                    schema["format"] = Json::from("password");
                    schema["writeOnly"] = Json::from(true);
                }
                (i.name.to_string(), schema)
            })
            .collect();
        let required: Vec<&str> = action.inputs.iter().filter(|i| i.required).map(|i| i.name).collect();
        let post = json!({
            "operationId": format!("{}-{}", facts.name, action.name), "tags": [facts.plural], "summary": action.doc,
            "requestBody": body(Json::Object(properties), required), "responses": one(),
        });
        paths.insert(format!("{prefix}/{}/{{id}}/{}", facts.plural, action.name), json!({"parameters": [id], "post": post}));
    }
    for spec in kind.specs() {
        let get = json!({"operationId": format!("{}-{}-show", facts.name, spec.name), "tags": [facts.plural], "summary": spec.doc, "responses": one()});
        let path = paths.entry(format!("{prefix}/{}/{{id}}/{}", facts.plural, spec.name)).or_insert_with(|| json!({"parameters": [id]}));
        path["get"] = get;
    }
}
