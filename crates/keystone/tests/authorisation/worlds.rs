//! Random worlds: what a list shows is what can be shown, and both are what a model says that knows no SQL.

use auth::{Binding, Bindings, Policy};
use base::meta::{ProjectOwned, Shared, Standalone};
use base::{Bearer, Caller, Clock, Ctx, Json, Lang, Resource, Role, Scope, Timestamp};
use resource::{Ask, Engine, FixedOwners, Gate, Kind, Method, Options, Params, TagSet};
use serde_json::json;
use service::{OwnerTags, PolicyGate, has_all};
use std::{collections::BTreeMap, sync::Arc};
use store::{Db, Migrations, ddl, work};

/// Something a project owns and can share.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "thing", plural = "things", service = "test", level = project)]
pub struct Thing {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub owned: ProjectOwned,
    #[field(flatten)]
    pub shared: Shared,
}

type Tags = BTreeMap<String, String>;

/// Numbers that come again when the test does.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
    fn tags(&mut self) -> Tags {
        let mut tags = Tags::new();
        for (key, values) in KEYS {
            if self.below(2) == 0 {
                tags.insert(key.to_string(), self.one(&values).to_string());
            }
        }
        tags
    }
    /// No set most of the time, else one or two.
    fn sets(&mut self) -> Vec<TagSet> {
        let n = if self.below(3) > 0 { 0 } else { 1 + self.below(2) };
        (0..n)
            .map(|_| {
                let (key, values) = self.one(&KEYS);
                let mut set = TagSet::from([(key.to_string(), Vec::new())]);
                if self.below(3) > 0 {
                    set.entry(key.to_string()).or_default().push(self.one(values).to_string());
                }
                if self.below(4) == 0 {
                    set.entry("user:team".into()).or_default().push("a".into());
                }
                set
            })
            .collect()
    }
}

const KEYS: [(&str, [&str; 2]); 2] = [("user:env", ["dev", "prod"]), ("user:team", ["a", "b"])];
const PROJECTS: [(&str, &str); 4] = [("p1", "d1"), ("p2", "d1"), ("p3", "d2"), ("p4", "d2")];

/// Tags of projects and domains, as the directory knows them.
struct Directory(BTreeMap<String, Tags>);

impl Directory {
    fn with(&self, first: char, sets: &[TagSet]) -> Vec<String> {
        let fits = |tags: &Tags| sets.iter().any(|set| has_all(set, |k| tags.get(k).map(String::as_str)));
        self.0.iter().filter(|(id, tags)| id.starts_with(first) && fits(tags)).map(|(id, _)| id.clone()).collect()
    }
}

impl OwnerTags for Directory {
    fn projects_with(&self, sets: &[TagSet]) -> Vec<String> {
        self.with('p', sets)
    }
    fn domains_with(&self, sets: &[TagSet]) -> Vec<String> {
        self.with('d', sets)
    }
}

/// One allow of a world.
#[derive(Debug)]
struct Right {
    scope: Scope,
    update: bool,
    object: Vec<TagSet>,
    project: Vec<TagSet>,
    domain: Vec<TagSet>,
}

impl Right {
    fn roll(dice: &mut Dice) -> Right {
        let scope = *dice.one(&[Scope::User, Scope::Project, Scope::Project, Scope::Domain, Scope::Domain, Scope::System]);
        Right { scope, update: dice.below(2) == 0, object: dice.sets(), project: dice.sets(), domain: dice.sets() }
    }

    fn binding(&self) -> Binding {
        let sets = |sets: &[TagSet]| -> Json {
            let pairs = |set: &TagSet| {
                let pair = |(k, vs): (&String, &Vec<String>)| match vs.as_slice() {
                    [] => vec![json!({"key": k})],
                    vs => vs.iter().map(|v| json!({"key": k, "value": v})).collect(),
                };
                Json::Array(set.iter().flat_map(pair).collect())
            };
            Json::Array(sets.iter().map(pairs).collect())
        };
        let mut actions = json!({"list": "allow", "get": "allow", "*": "deny"});
        if self.update {
            actions["update"] = json!("allow");
        }
        let document = json!({"policy": {"test": {"things": actions}}, "object_tags": sets(&self.object), "project_tags": sets(&self.project),
            "domain_tags": sets(&self.domain)});
        let policy = Arc::new(Policy::parse("p", &document).expect("a policy"));
        Binding { role_id: "r".into(), ..Binding::common(self.scope, policy) }
    }

    /// Whether a row is among those the right speaks of.
    fn meets(&self, row: &Row, directory: &Directory) -> bool {
        let any = |sets: &[TagSet], tags: &Tags| sets.is_empty() || sets.iter().any(|s| has_all(s, |k| tags.get(k).map(String::as_str)));
        any(&self.object, &row.tags) && any(&self.project, &directory.0[row.project]) && any(&self.domain, &directory.0[row.domain])
    }

    fn shows(&self, row: &Row, caller: &Caller, directory: &Directory) -> bool {
        let own_domain = !caller.project_domain_id.is_empty() && row.domain == caller.project_domain_id;
        let own_project = !caller.project_id.is_empty() && row.project == caller.project_id;
        let own = match self.scope {
            Scope::System => true,
            Scope::Domain => own_domain,
            _ => own_project,
        };
        let listed = |ids: &[&str], id: &str| !id.is_empty() && ids.contains(&id);
        let shared = match row.shared {
            "system" => true,
            "domain" => own_domain || listed(&row.with, &caller.project_domain_id),
            "project" => listed(&row.with, &caller.project_id),
            _ => false,
        };
        (own || shared) && self.meets(row, directory)
    }

    fn changes(&self, row: &Row, caller: &Caller, directory: &Directory) -> bool {
        let needs = if !caller.project_id.is_empty() && row.project == caller.project_id {
            Scope::Project
        } else if !caller.project_domain_id.is_empty() && row.domain == caller.project_domain_id {
            Scope::Domain
        } else {
            Scope::System
        };
        self.update && self.scope >= needs && self.meets(row, directory)
    }
}

#[derive(Debug)]
struct Row {
    id: String,
    project: &'static str,
    domain: &'static str,
    shared: &'static str,
    with: Vec<&'static str>,
    tags: Tags,
}

impl Row {
    fn roll(dice: &mut Dice, n: usize) -> Row {
        let (project, domain) = *dice.one(&PROJECTS);
        let shared = *dice.one(&["none", "none", "none", "project", "domain", "system"]);
        let with = match shared {
            "project" => vec![dice.one(&PROJECTS).0],
            "domain" if dice.below(2) == 0 => vec![*dice.one(&["d1", "d2"])],
            _ => vec![],
        };
        Row { id: format!("t{n}"), project, domain, shared, with, tags: dice.tags() }
    }
}

/// Things anew, whatever there was.
async fn populate(db: &Db, rows: &[Row]) {
    db.tx(|tx| {
        work(async move {
            tx.delete("things", store::Cond::True).await?;
            tx.delete("metadata", store::Cond::True).await?;
            for row in rows {
                let mut thing = Thing::default();
                thing.meta.id = row.id.clone();
                thing.meta.name = row.id.clone();
                (thing.owned.tenant_id, thing.owned.domain_id) = (row.project.into(), row.domain.into());
                (thing.shared.is_public, thing.shared.public_scope) = (row.shared != "none", row.shared.into());
                (thing.shared.shared_project_ids, thing.shared.shared_domain_ids) = match row.shared {
                    "project" => (json!(row.with), Json::Null),
                    "domain" => (Json::Null, json!(row.with)),
                    _ => (Json::Null, Json::Null),
                };
                let stored = thing.to_row();
                tx.insert(&stored).await?;
                let tags: Vec<(String, Option<String>)> = row.tags.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
                resource::write_tags(tx, &stored, &tags, None).await?;
            }
            Ok(())
        })
    })
    .await
    .expect("rows are written");
}

/// A gate whose bindings are the world's.
struct World(std::sync::RwLock<Arc<PolicyGate>>);

impl World {
    fn now(&self) -> Arc<PolicyGate> {
        self.0.read().expect("not poisoned").clone()
    }
}

impl Gate for World {
    fn widest(&self, caller: &Caller, peer: Option<std::net::IpAddr>, ask: &Ask<'_>) -> Scope {
        self.now().widest(caller, peer, ask)
    }
    fn allows(&self, caller: &Caller, peer: Option<std::net::IpAddr>, ask: &Ask<'_>, scope: Scope) -> bool {
        self.now().allows(caller, peer, ask, scope)
    }
    fn conditional(&self, caller: &Caller, peer: Option<std::net::IpAddr>, ask: &Ask<'_>) -> Vec<resource::Conditional> {
        self.now().conditional(caller, peer, ask)
    }
}

fn gate(rights: &[Right], directory: &Arc<Directory>) -> Arc<PolicyGate> {
    let bindings = Bindings::new(rights.iter().map(Right::binding).collect(), []);
    Arc::new(
        PolicyGate::new(Arc::new(arc_swap::ArcSwap::from_pointee(bindings)), Clock::manual(Timestamp(0)))
            .with_owner_tags(directory.clone()),
    )
}

fn caller(dice: &mut Dice) -> Caller {
    let (project, domain) = *dice.one(&[("p1", "d1"), ("p2", "d1"), ("p3", "d2"), ("", "d1"), ("", "")]);
    Caller {
        user_id: "u".into(),
        project_id: project.into(),
        project_domain_id: domain.into(),
        roles: vec![Role { id: "r".into(), name: "r".into() }],
        ..Caller::default()
    }
}

const POPULATIONS: usize = 250;
const WORLDS_OF_EACH: usize = 40;

#[tokio::test]
async fn a_list_and_a_look_agree_with_each_other_and_with_the_model() {
    let db = store::testing::sqlite().await;
    db.migrate(&resource::MIGRATIONS).await.expect("tables");
    let table: &'static str = Box::leak(ddl::create_table(Thing::facts(), store::Dialect::Sqlite).into_boxed_str());
    let files: &'static [(&'static str, &'static str)] = Box::leak(Box::new([("0001.sql", table)]));
    db.migrate(&Migrations { owner: "test", sqlite: files, postgres: &[] }).await.expect("a table");
    let mut dice = Dice(20_261_122);
    let world = Arc::new(World(std::sync::RwLock::new(gate(&[], &Arc::new(Directory(BTreeMap::new()))))));
    let kinds = vec![Kind::plain::<Thing>()];
    let engine = Engine::new("test", db.clone(), Clock::real(), world.clone(), Arc::new(FixedOwners::default()), kinds, Options::default());
    let params = Params(json!({"scope": "max", "details": "false", "limit": "100"}));
    let (mut shown, mut hidden, mut conditional) = (0u64, 0u64, 0u64);
    for _ in 0..POPULATIONS {
        let rows: Vec<Row> = (0..6).map(|n| Row::roll(&mut dice, n)).collect();
        populate(&db, &rows).await;
        let ids = PROJECTS.iter().map(|(p, _)| *p).chain(["d1", "d2"]);
        let directory = Arc::new(Directory(ids.map(|id| (id.to_string(), dice.tags())).collect()));
        for _ in 0..WORLDS_OF_EACH {
            let rights: Vec<Right> = (0..dice.below(4)).map(|_| Right::roll(&mut dice)).collect();
            *world.0.write().expect("not poisoned") = gate(&rights, &directory);
            let who = Arc::new(caller(&mut dice));
            let ctx = Ctx { caller: who.clone(), request_id: "r".into(), lang: Lang::En, peer: None, bearer: Bearer::default() };
            let told = engine.handle(&ctx, Method::Get, &["things".to_string()], &params, None).await;
            let listed: Vec<String> = match told {
                Ok(answer) => {
                    let list: Json = serde_json::from_slice(&answer.body).expect("JSON");
                    list["things"].as_array().expect("a list").iter().map(|t| t["id"].as_str().expect("an id").to_string()).collect()
                }
                Err(e) => {
                    assert!(rights.is_empty(), "{e}: {rights:?}");
                    Vec::new()
                }
            };
            for row in &rows {
                let want = rights.iter().any(|r| r.shows(row, &who, &directory));
                assert_eq!(listed.contains(&row.id), want, "list: {row:?} {who:?} {rights:?} {:?}", directory.0);
                let path = ["things".to_string(), row.id.clone()];
                let look = engine.handle(&ctx, Method::Get, &path, &params, None).await;
                assert_eq!(look.is_ok(), want, "look: {row:?} {who:?} {rights:?} {:?}", directory.0);
                let kind = engine.kind("things").expect("the kind");
                let stored = store::Read::one(&mut &db, Thing::facts(), &row.id).await.expect("a row").expect("a row");
                let may = engine.permits(&ctx, kind, &stored, "update", &[]).await.expect("an answer");
                assert_eq!(may, rights.iter().any(|r| r.changes(row, &who, &directory)), "update: {row:?} {who:?} {rights:?}");
                (shown, hidden) = (shown + u64::from(want), hidden + u64::from(!want));
            }
            conditional += u64::from(rights.iter().any(|r| !(r.object.is_empty() && r.project.is_empty() && r.domain.is_empty())));
        }
    }
    // The dice do not always show the same side.
    assert!(shown > 5_000 && hidden > 5_000 && conditional > 3_000, "{shown} {hidden} {conditional}");
}
