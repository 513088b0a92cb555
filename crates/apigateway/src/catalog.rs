//! Which service keeps a resource: read from the documents that services make of themselves, so that a resource added there is known here.

use base::{Json, Scope};
use std::{collections::HashMap, sync::LazyLock};

include!(concat!(env!("OUT_DIR"), "/documents.rs"));

/// A resource as the gateway needs it.
#[derive(Clone, Debug)]
pub struct Module {
    /// The service as permissions name it: `compute`.
    pub service: String,
    /// The service's type in the catalogue: `compute_v2`.
    pub kind: String,
    /// Singular keyword: `server`.
    pub name: String,
    pub plural: String,
    /// Whose rows are: the narrowest scope that has any.
    pub level: Scope,
}

/// Collections that services serve beside their resources: they have paths and envelopes alike, but no row.
const COLLECTIONS: [(&str, &str, &str); 4] = [
    ("identity", "role_assignment", "role_assignments"),
    ("identity", "identity_quota", "identity_quotas"),
    ("image", "image_quota", "image_quotas"),
    ("compute", "metadata", "metadatas"),
];

pub struct Table {
    all: Vec<Module>,
    by_plural: HashMap<String, usize>,
}

/// The table of this build.
pub static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(DOCUMENTS));

/// The service's type for its word.
fn kind_of(service: &str) -> String {
    if service == "compute" { "compute_v2".to_string() } else { service.to_string() }
}

impl Table {
    /// Of documents with the word of their service. One that cannot be read has no resources.
    fn read(documents: &[(&str, &str)]) -> Table {
        let mut all = Vec::new();
        let mut documents: Vec<_> = documents.to_vec();
        // Where several services have a keyword, compute is meant.
        documents.sort_by_key(|(word, _)| (*word != "compute", *word));
        for (service, text) in documents {
            let document: Json = serde_json::from_str(text).unwrap_or_default();
            for (path, class) in document["paths"].as_object().into_iter().flatten() {
                let name = class["get"]["operationId"].as_str().and_then(|id| id.strip_suffix("-list"));
                let plural = path.trim_start_matches('/');
                let (Some(name), false) = (name, plural.contains('/')) else { continue };
                let has = |field: &str| !document["components"]["schemas"][name]["properties"][field].is_null();
                let level = match (has("tenant_id"), has("domain_id"), has("owner_id")) {
                    (true, ..) => Scope::Project,
                    (_, true, _) => Scope::Domain,
                    (.., true) => Scope::User,
                    _ => Scope::System,
                };
                all.push(Module { service: service.into(), kind: kind_of(service), name: name.into(), plural: plural.into(), level });
            }
        }
        for (service, name, plural) in COLLECTIONS {
            if !all.iter().any(|m| m.service == service && m.plural == plural) {
                let module = Module {
                    service: service.into(),
                    kind: kind_of(service),
                    name: name.into(),
                    plural: plural.into(),
                    level: Scope::Project,
                };
                all.push(module);
            }
        }
        let mut by_plural = HashMap::new();
        for (i, module) in all.iter().enumerate() {
            by_plural.entry(module.plural.clone()).or_insert(i);
            by_plural.insert(format!("{}-{}", module.service, module.plural), i);
        }
        Table { all, by_plural }
    }

    /// By plural keyword, or by service and plural keyword: `identity-events`.
    pub fn find(&self, word: &str) -> Option<&Module> {
        self.by_plural.get(word).map(|i| &self.all[*i])
    }

    /// By service and singular keyword, as changes name it.
    pub fn named(&self, service: &str, name: &str) -> Option<&Module> {
        self.all.iter().find(|m| m.service == service && m.name == name)
    }

    pub fn all(&self) -> &[Module] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_of_this_build() {
        let check = |word: &str, kind: &str, name: &str, level: Scope| {
            let found = TABLE.find(word).unwrap_or_else(|| panic!("no {word}"));
            assert_eq!((found.kind.as_str(), found.name.as_str(), found.level), (kind, name, level), "{word}");
        };
        check("servers", "compute_v2", "server", Scope::Project);
        check("hosts", "compute_v2", "host", Scope::Domain);
        check("zones", "compute_v2", "zone", Scope::System);
        check("images", "image", "image", Scope::Project);
        check("users", "identity", "user", Scope::Domain);
        check("credentials", "identity", "credential", Scope::User);
        check("events", "compute_v2", "event", Scope::Project);
        check("identity-events", "identity", "event", Scope::Project);
        check("image-events", "image", "event", Scope::Project);
        check("role_assignments", "identity", "role_assignment", Scope::Project);
        assert!(TABLE.find("nonsense").is_none());
    }
}
