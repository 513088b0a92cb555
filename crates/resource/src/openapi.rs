//! The OpenAPI document, made from the same facts the engine walks.

use crate::{ActionFact, Engine, Extra, Kind, standard};
use base::{Flags, Json, Kind as Cell};
use serde_json::json;

impl Engine {
    /// The `paths` and `components.schemas` of this service under a URL prefix.
    pub fn openapi(&self, prefix: &str, version: &str) -> Json {
        let (mut paths, mut schemas) = (serde_json::Map::new(), serde_json::Map::new());
        for kind in self.kinds() {
            describe(kind, prefix, &mut paths, &mut schemas);
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
            let mut schema = schema_of(extra.input.kind);
            schema["description"] = Json::from(extra.input.doc);
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
        class["post"] = json!({
            "operationId": format!("{}-create", facts.name), "tags": [facts.plural], "summary": facts.doc,
            "requestBody": body(Json::Object(properties), required), "responses": one(),
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
