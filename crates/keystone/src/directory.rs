//! Domains, projects and roles in memory: what every answer needs names of. Kept in step by [`crate::follow`].

use api_identity::{Domain, Project, Role};
use base::{Resource, Result};
use resource::{Owner, TagSet};
use service::{OwnerTags, has_all};
use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use store::{Cond, Db, Read, Select};

#[derive(Default)]
struct Data {
    domains: HashMap<String, Entry>,
    projects: HashMap<String, Entry>,
    /// Ids by name.
    projects_named: HashMap<String, Vec<String>>,
    roles: HashMap<String, Entry>,
}

struct Entry {
    name: String,
    domain_id: String,
    enabled: bool,
    tags: HashMap<String, String>,
}

#[derive(Default)]
pub struct Directory(RwLock<Data>);

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    Domains,
    Projects,
    Roles,
}

impl Directory {
    fn data(&self) -> RwLockReadGuard<'_, Data> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn data_mut(&self) -> RwLockWriteGuard<'_, Data> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads rows anew: those with the ids, or all.
    pub async fn load(&self, mut db: &Db, what: What, ids: Option<&[String]>) -> Result<()> {
        let cond = ids.map_or(Cond::True, |ids| Cond::is_in("id", ids.iter().map(String::as_str)));
        let facts = match what {
            What::Domains => Domain::facts(),
            What::Projects => Project::facts(),
            What::Roles => Role::facts(),
        };
        let rows = db.find(facts, cond.and(Cond::eq("deleted", false))).await?;
        let mut tags = if what == What::Roles { HashMap::new() } else { tags(db, facts.name, ids).await? };
        let mut data = self.data_mut();
        let map = match what {
            What::Domains => &mut data.domains,
            What::Projects => &mut data.projects,
            What::Roles => &mut data.roles,
        };
        match ids {
            Some(ids) => ids.iter().for_each(|id| drop(map.remove(id))),
            None => map.clear(),
        }
        for row in &rows {
            let enabled = !facts.has("enabled") || row.flag("enabled");
            let entry = Entry {
                name: row.name().to_string(),
                domain_id: row.text("domain_id").to_string(),
                enabled,
                tags: tags.remove(row.id()).unwrap_or_default(),
            };
            map.insert(row.id().to_string(), entry);
        }
        if what == What::Projects {
            let mut named: HashMap<String, Vec<String>> = HashMap::new();
            for (id, entry) in &data.projects {
                named.entry(entry.name.clone()).or_default().push(id.clone());
            }
            data.projects_named = named;
        }
        Ok(())
    }

    pub fn find_domain(&self, id: &str) -> Option<Owner> {
        let data = self.data();
        data.domains.get(id).map(|d| Owner { domain_id: id.to_string(), domain: d.name.clone(), ..Owner::default() })
    }

    pub fn domains_named(&self, name: &str) -> Vec<Owner> {
        let data = self.data();
        let named = data.domains.iter().filter(|(_, d)| d.name == name);
        named.map(|(id, d)| Owner { domain_id: id.clone(), domain: d.name.clone(), ..Owner::default() }).collect()
    }

    pub fn find_project(&self, id: &str) -> Option<Owner> {
        let data = self.data();
        data.projects.get(id).map(|p| data.owner(id, p))
    }

    pub fn projects_named(&self, name: &str, domain_id: Option<&str>) -> Vec<Owner> {
        let data = self.data();
        let ids = data.projects_named.get(name).map_or(&[][..], Vec::as_slice);
        let owners = ids.iter().filter_map(|id| data.projects.get(id).map(|p| data.owner(id, p)));
        owners.filter(|o| domain_id.is_none_or(|d| d == o.domain_id)).collect()
    }

    /// The name of a domain; empty for an unknown one.
    pub fn domain_name(&self, id: &str) -> String {
        self.data().domains.get(id).map(|d| d.name.clone()).unwrap_or_default()
    }

    /// The name of a role; empty for an unknown one.
    pub fn role_name(&self, id: &str) -> String {
        self.data().roles.get(id).map(|r| r.name.clone()).unwrap_or_default()
    }

    /// The domain a role belongs to.
    pub fn role_domain(&self, id: &str) -> String {
        self.data().roles.get(id).map(|r| r.domain_id.clone()).unwrap_or_default()
    }

    pub fn domain_enabled(&self, id: &str) -> bool {
        self.data().domains.get(id).is_some_and(|d| d.enabled)
    }

    /// Whether a project and its domain take part.
    pub fn project_enabled(&self, id: &str) -> bool {
        let data = self.data();
        data.projects.get(id).is_some_and(|p| p.enabled && data.domains.get(&p.domain_id).is_some_and(|d| d.enabled))
    }
}

/// The tags of projects or domains: of those with the ids, or all.
async fn tags(mut db: &Db, kind: &'static str, ids: Option<&[String]>) -> Result<HashMap<String, HashMap<String, String>>> {
    use base::Kind::Text;
    let these = ids.map_or(Cond::True, |ids| Cond::is_in("obj_id", ids.iter().map(String::as_str)));
    let select = Select::from("metadata").column("obj_id", Text).column("key", Text).column("value", Text);
    let mut out: HashMap<String, HashMap<String, String>> = HashMap::new();
    for row in db.rows(&select.filter(Cond::eq("obj_type", kind).and(these))).await? {
        let text = |i: usize| row[i].as_str().to_string();
        out.entry(text(0)).or_default().insert(text(1), text(2));
    }
    Ok(out)
}

fn tagged(map: &HashMap<String, Entry>, sets: &[TagSet]) -> Vec<String> {
    let fits = |entry: &Entry| sets.iter().any(|set| has_all(set, |key| entry.tags.get(key).map(String::as_str)));
    map.iter().filter(|(_, entry)| fits(entry)).map(|(id, _)| id.clone()).collect()
}

impl OwnerTags for Directory {
    fn projects_with(&self, sets: &[TagSet]) -> Vec<String> {
        tagged(&self.data().projects, sets)
    }
    fn domains_with(&self, sets: &[TagSet]) -> Vec<String> {
        tagged(&self.data().domains, sets)
    }
}

impl Data {
    fn owner(&self, id: &str, project: &Entry) -> Owner {
        Owner {
            project_id: id.to_string(),
            project: project.name.clone(),
            domain_id: project.domain_id.clone(),
            domain: self.domains.get(&project.domain_id).map(|d| d.name.clone()).unwrap_or_default(),
        }
    }
}
