//! Identity providers as a resource (spec 02 §10): their configuration, and the word to synchronise.

use super::{alive, count_of, enabled_unless_said, ids};
use crate::provider::{self, GROUP, USER, config, external, login, mapping::Mapping, saml, sso, sync};
use crate::{access, state::State};
use api_identity::{
    Domain, IdentityLink, IdentityProvider, Project, Role,
    identity_provider::{SQL, SQL_ID},
};
use base::meta::{Enabled, Standalone};
use base::{Error, Json, Kind as Cell, Resource, Result, Row, Scope, err};
use resource::{ActionFact, BoxFuture, Deleted, Hooks, Input, Kind, Map, Naming, Op, Page, Params, Removal, Reply, flag};
use serde_json::json;
use std::{collections::HashMap, sync::Arc, time::Duration};
use store::{ChangeOp, Cond, Pick, Read, Select, Tx, set, work};

struct ProviderHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<IdentityProvider, _>(&Arc::new(ProviderHooks { state: state.clone() }))
        .naming(Naming::Global)
        .spec(CONFIG, |h, op, row, _| Box::pin(h.config(op, row)))
        .spec(SYNC_RESULT, |_, _, row, _| Box::pin(async move { Ok(Reply::Value(json!({ "result": sync::last(&row) }))) }))
        .spec(REDIRECT, |h, op, row, _| Box::pin(h.sso_redirect(op, row)))
        .spec(CALLBACK, |h, op, row, _| Box::pin(h.sso_callback(op, row)))
        .spec(SAML_METADATA, |h, op, row, _| Box::pin(h.saml_metadata(op, row)))
        .spec(SAML_REQUEST, |h, op, row, _| Box::pin(h.saml_request(op, row)))
        .class_spec(ATTRIBUTE_NAMES, |_, _, _| Box::pin(async { Ok(attribute_names()) }))
        .action(SET_CONFIG, |h, op, row, body| Box::pin(h.set_config(op, row, body)))
        .action(SYNC, |h, op, row, body| Box::pin(h.sync(op, row, body)))
        .action(DEFAULT_SSO, |h, op, row, body| Box::pin(h.default_sso(op, row, body)))
        .done()
}

const CONFIG: ActionFact = ActionFact {
    name: "config",
    doc: "The configuration, by driver; secrets only with sensitive=true.",
    inputs: &[Input { name: "sensitive", kind: Cell::Bool, required: false, doc: "Show secrets too." }],
};
const SYNC_RESULT: ActionFact = ActionFact { name: "sync-result", doc: "What the last synchronisation changed.", inputs: &[] };
const REDIRECT: ActionFact = ActionFact {
    name: "sso-redirect-uri",
    doc: "Where a login page sends the browser.",
    inputs: &[
        Input { name: "redirect_uri", kind: Cell::Text, required: true, doc: "Where the provider sends the browser afterwards." },
        Input {
            name: "state",
            kind: Cell::Text,
            required: false,
            doc: "What the browser is to bring back; made and checked here when left out.",
        },
    ],
};
const CALLBACK: ActionFact = ActionFact {
    name: "sso-callback-uri",
    doc: "The address to register at the provider.",
    inputs: &[Input {
        name: "redirect_uri",
        kind: Cell::Text,
        required: false,
        doc: "Of a login page; that of this service when left out.",
    }],
};
const SAML_METADATA: ActionFact = ActionFact {
    name: "saml-metadata",
    doc: "What to register at a SAML provider.",
    inputs: &[
        Input {
            name: "redirect_uri",
            kind: Cell::Text,
            required: false,
            doc: "Where its responses come; callback_url of the configuration when left out.",
        },
        Input { name: "pretty", kind: Cell::Bool, required: false, doc: "In lines." },
    ],
};
const SAML_REQUEST: ActionFact = ActionFact {
    name: "saml-request",
    doc: "A request that a login page posts to a SAML provider.",
    inputs: &[
        Input { name: "redirect_uri", kind: Cell::Text, required: true, doc: "Where the provider sends the browser afterwards." },
        Input { name: "state", kind: Cell::Text, required: false, doc: "What the browser is to bring back as RelayState." },
    ],
};
const ATTRIBUTE_NAMES: ActionFact =
    ActionFact { name: "attribute-names", doc: "Keys that map attributes, with what they are for.", inputs: &[] };
const SET_CONFIG: ActionFact = ActionFact {
    name: "config",
    doc: "Change the configuration; it is tried before it is kept.",
    inputs: &[
        Input { name: "config", kind: Cell::Json, required: true, doc: "Keys and values under the driver's name." },
        Input { name: "action", kind: Cell::Text, required: false, doc: "update (the default), remove or replace." },
    ],
};
const SYNC: ActionFact = ActionFact {
    name: "sync",
    doc: "Bring users and groups over now, and tell what changed.",
    inputs: &[
        Input { name: "dry_run", kind: Cell::Bool, required: false, doc: "Only tell what would change." },
        Input { name: "force", kind: Cell::Bool, required: false, doc: "Go on although more than half of the users or groups are gone." },
    ],
};
const DEFAULT_SSO: ActionFact = ActionFact {
    name: "default-sso",
    doc: "Let the login page go to this provider by itself, or no longer.",
    inputs: &[Input { name: "enable", kind: Cell::Bool, required: true, doc: "Whether it should." }],
};

/// Shortest interval of synchronisation, seconds.
const SHORTEST: i64 = 300;
/// How long a request waits for its synchronisation, which goes on without it.
const PATIENCE: Duration = Duration::from_secs(45);

fn attribute_names() -> Json {
    let mut names = json!({
        "user_enabled_attribute": "says whether an account can be used",
        "user_additional_attribute_mapping": "pairs attribute:field; the fields are displayname, email and mobile, others become tags ext:field",
        "group_id_attribute": "identifies a group and never changes",
        "group_name_attribute": "the name of a group",
        "group_member_attribute": "names the members of a group",
    });
    for (key, doc) in provider::mapping::KEYS {
        names[key] = doc.into();
    }
    json!({ "attribute_names": names })
}

fn as_map(json: Json) -> Map {
    match json {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// The part of a configuration that is for the driver.
fn part(config: &Json, driver: &str) -> Result<Map> {
    let wrong = || err!(InputParameter, "{}: expected {}, got {}", "config", "an object under the driver's name", "something else");
    let all = config.as_object().ok_or_else(wrong)?;
    if let Some(other) = all.keys().find(|k| *k != driver) {
        return Err(err!(InputParameter, "config: {} is not the driver of this provider, which is {}", other, driver));
    }
    all.get(driver).and_then(Json::as_object).cloned().ok_or_else(wrong)
}

/// Asks the directory whether it can be asked: the account binds, and the trees are there.
async fn probe(config: config::Ldap, template: &str) -> Result<()> {
    let multi = template == config::MULTI_DOMAIN;
    let asked = async move {
        let mut directory = provider::wire::Directory::enter(&config).await?;
        let mut trees = vec![config.user_tree()];
        if !config.group_objectclass.is_empty() {
            trees.push(config.group_tree());
        }
        if multi {
            trees.push(config.domain_tree());
        }
        for tree in trees {
            directory.search(tree, provider::wire::Depth::Base, "(objectClass=*)", &["objectClass".to_string()]).await?;
        }
        directory.leave().await;
        Ok(())
    };
    tokio::spawn(asked).await.map_err(Error::internal)?
}

/// How a login page wants to begin.
fn wish(op: &Op<'_>) -> Result<sso::Begin> {
    let text = |key: &str| op.params.text(key).unwrap_or_default();
    let redirect_uri = text("redirect_uri");
    if !redirect_uri.starts_with("https://") && !redirect_uri.starts_with("http://") {
        return Err(err!(InputParameter, "redirect_uri must be an http or https address"));
    }
    Ok(sso::Begin { redirect_uri, state: text("state"), bound: false })
}

impl ProviderHooks {
    /// Looks a configuration over and asks the authority whether it is there.
    async fn try_out(&self, driver: &str, template: &str, all: &Map) -> Result<()> {
        match sso::driver(driver) {
            None => probe(config::Ldap::read(template, all)?, template).await,
            Some(driver) => {
                let (keys, mapping) = sso::read(&self.state, driver, template, all)?;
                self.demand_defaults(&mapping).await?;
                driver.probe(&self.state, template, &keys).await
            }
        }
    }

    /// The project and role everybody gets must be there: a login is no place to learn that they are not.
    async fn demand_defaults(&self, mapping: &Mapping) -> Result<()> {
        let mut db = self.state.db.read();
        for (key, facts, id) in [
            ("default_project_id", Project::facts(), &mapping.default_project_id),
            ("default_role_id", Role::facts(), &mapping.default_role_id),
        ] {
            if !id.is_empty() && !db.exists(facts.table, Cond::eq("id", id.as_str()).and(alive())).await? {
                return Err(err!(InputParameter, "{}: there is no {} with the id {}", key, facts.name, id));
            }
        }
        Ok(())
    }

    /// Puts a configuration into a row, its secrets sealed.
    fn keep(&self, row: &mut Row, all: Map) -> Result<()> {
        let driver = row.text("driver").to_string();
        let (sealed, open): (Map, Map) = all.into_iter().partition(|(key, _)| config::is_sensitive(key));
        row.set("config", json!({ &driver: open }));
        row.set("sealed_config", self.state.seal.close(&json!({ &driver: sealed }).to_string())?);
        Ok(())
    }

    async fn config(&self, op: &Op<'_>, row: Row) -> Result<Reply> {
        let driver = row.text("driver").to_string();
        let mut all = as_map(row.get("config").to_json());
        if op.params.flag("sensitive") == Some(true) {
            op.engine.demand(op.ctx, op.kind, &row, "perform", &["config"]).await?;
            if op.engine.widest(op.ctx, op.kind, "perform", &["config"]) < Scope::System {
                return Err(err!(Forbidden, "only an administrator of the platform reads sensitive configuration"));
            }
            all.insert(driver.clone(), Json::Object(login::stored(&self.state, &row)?));
        }
        all.entry(driver).or_insert_with(|| json!({}));
        Ok(Reply::Value(json!({ "config": all })))
    }

    async fn set_config(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let action = resource::text(&body, &["action"]).unwrap_or_else(|| "update".to_string());
        if !matches!(action.as_str(), "update" | "remove" | "replace") {
            return Err(err!(InputParameter, "{}: {} is none of {}", "action", action, "update, remove, replace"));
        }
        if row.text("driver") == SQL {
            return Err(err!(ProtectedResource, "the identity provider {} came with the platform and has no configuration", row.name()));
        }
        let change = part(body.get("config").unwrap_or(&Json::Null), row.text("driver"))?;
        let mut all = if action == "replace" { Map::new() } else { login::stored(&self.state, &row)? };
        if action == "remove" {
            all.retain(|key, _| !change.contains_key(key));
        } else {
            all.extend(change);
        }
        self.try_out(row.text("driver"), row.text("template"), &all).await?;
        let (row, all) = (&row, &all);
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    let old = tx.one(row.facts, row.id()).await?;
                    let Some(old) = old.filter(|o| o.int("config_version") == row.int("config_version")) else {
                        return Err(err!(
                            ResourceBusy,
                            "{} {} was changed or removed by another request; look at it again and retry",
                            row.facts.name,
                            row.name()
                        ));
                    };
                    let mut new = old.clone();
                    self.keep(&mut new, all.clone())?;
                    new.set("config_version", old.int("config_version") + 1);
                    new.set("status", "connected");
                    new.set("error_count", 0);
                    new.set("last_error", "");
                    tx.save(&old, &mut new).await?;
                    access::record(tx, op.ctx, &new, "update").await
                })
            })
            .await?;
        Ok(Reply::Object)
    }

    async fn sync(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let wish =
            sync::Wish { dry_run: flag(&body, "dry_run")?.unwrap_or(false), force: flag(&body, "force")?.unwrap_or(false), if_due: false };
        let running = sync::run(self.state.clone(), op.ctx.clone(), row.id().to_string(), wish);
        let mut answer = json!({"id": row.id(), "name": row.name()});
        match tokio::time::timeout(PATIENCE, running).await {
            Ok(report) => {
                answer["sync_status"] = "idle".into();
                answer["result"] = serde_json::to_value(report?).map_err(Error::internal)?;
            }
            // It goes on; the property sync-result tells how it ended.
            Err(_) => answer["sync_status"] = "syncing".into(),
        }
        Ok(Reply::Value(answer))
    }

    async fn sso_redirect(&self, op: &Op<'_>, row: Row) -> Result<Reply> {
        let (driver, provider) = sso::open(&self.state, external::enabled(row)?)?;
        let uri = driver.begin(&self.state, &provider, &wish(op)?).await?;
        Ok(Reply::Value(json!({"uri": uri, "driver": driver.name()})))
    }

    async fn saml_request(&self, op: &Op<'_>, row: Row) -> Result<Reply> {
        let provider = self.saml(external::enabled(row)?)?;
        Ok(Reply::Value(saml::form(&self.state, &provider, &wish(op)?).await?))
    }

    async fn saml_metadata(&self, op: &Op<'_>, row: Row) -> Result<Reply> {
        let provider = self.saml(row)?;
        let (redirect_uri, pretty) = (op.params.text("redirect_uri").unwrap_or_default(), op.params.flag("pretty").unwrap_or(false));
        Ok(Reply::Value(json!({"metadata": saml::metadata(&provider, &redirect_uri, pretty)?})))
    }

    /// A provider that speaks SAML.
    fn saml(&self, row: Row) -> Result<sso::Provider> {
        match sso::open(&self.state, row)? {
            (driver, provider) if driver.name() == "saml" => Ok(provider),
            (driver, provider) => {
                Err(err!(InputParameter, "the identity provider {} is of driver {}; this is for saml", provider.row.name(), driver.name()))
            }
        }
    }

    async fn sso_callback(&self, op: &Op<'_>, row: Row) -> Result<Reply> {
        let (driver, _) = sso::open(&self.state, row)?;
        Ok(Reply::Value(json!({"redirect_uri": op.params.text("redirect_uri").unwrap_or_default(), "driver": driver.name()})))
    }

    async fn default_sso(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let enable = flag(&body, "enable")?.unwrap_or(false);
        if enable && !row.flag("is_sso") {
            return Err(err!(NotAcceptable, "the identity provider {} has no login page of its own", row.name()));
        }
        let row = &row;
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    let others = Cond::eq("is_default", true).and(Cond::ne("id", row.id()));
                    if enable {
                        tx.update("identity_providers", others, vec![set("is_default", false)]).await?;
                    }
                    let Some(old) = tx.one(row.facts, row.id()).await? else { return Ok(()) };
                    let mut new = old.clone();
                    new.set("is_default", enable);
                    tx.save(&old, &mut new).await?;
                    access::record(tx, op.ctx, &new, "update").await
                })
            })
            .await?;
        Ok(Reply::Object)
    }

    /// Living rows of one kind by provider.
    async fn linked(&self, ids: &[String], entity: &str, table: &'static str) -> Result<HashMap<String, i64>> {
        let living = Cond::in_select("object_id", Select::from(table).column("id", Cell::Text).filter(alive()));
        let cond = Cond::is_in("identity_provider_id", ids.iter().map(String::as_str)).and(Cond::eq("entity", entity)).and(living);
        let q = Select::from("identity_links").column("identity_provider_id", Cell::Text).pick(Pick::Count).filter(cond);
        let rows = self.state.db.read().rows(&q.group_by("identity_provider_id")).await?;
        Ok(rows.into_iter().map(|r| (r[0].as_str().to_string(), r[1].as_int().unwrap_or(0))).collect())
    }
}

impl ProviderHooks {
    /// Whether a provider of single sign-on says itself which domains its users are of.
    fn names_domains(&self, row: &Row) -> Result<bool> {
        let Some(driver) = sso::driver(row.text("driver")) else { return Ok(false) };
        let (_, mapping) = sso::read(&self.state, driver, row.text("template"), &login::stored(&self.state, row)?)?;
        Ok(!mapping.domain_id_attribute.is_empty() || !mapping.domain_name_attribute.is_empty())
    }
}

fn interval(row: &Row) -> Result<()> {
    if row.int("sync_interval_seconds") < SHORTEST {
        return Err(err!(OutOfRange, "sync_interval_seconds: {} is too short; at least {}", row.int("sync_interval_seconds"), SHORTEST));
    }
    Ok(())
}

impl Hooks for ProviderHooks {
    fn create<'a>(&'a self, _op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            enabled_unless_said(body, row);
            let template = row.text("template").to_string();
            let (drivers, mut templates) = sso::words();
            templates.extend(config::TEMPLATES);
            if !template.is_empty() && !templates.contains(&template.as_str()) {
                return Err(err!(InputParameter, "{}: {} is none of {}", "template", template, templates.join(", ")));
            }
            let of_template = sso::driver_of_template(&template).map_or(if template.is_empty() { "" } else { "ldap" }, |d| d.name());
            if row.text("driver").is_empty() {
                row.set("driver", of_template);
            }
            match row.text("driver") {
                "" => return Err(err!(MissingParameter, "{} is missing", "driver")),
                SQL => {
                    return Err(err!(
                        DuplicateResource,
                        "the platform has its own identity provider already; there is one of driver {}",
                        SQL
                    ));
                }
                one if !template.is_empty() && one != of_template => {
                    return Err(err!(InputParameter, "the template {} is of the driver {}", template, of_template));
                }
                "ldap" => {}
                one if drivers.contains(&one) => row.set("is_sso", true),
                other => {
                    let all = config::DRIVERS.into_iter().chain(drivers).collect::<Vec<_>>();
                    return Err(err!(InputParameter, "{}: {} is none of {}", "driver", other, all.join(", ")));
                }
            }
            interval(row)?;
            if template == config::MULTI_DOMAIN && !row.text("target_domain_id").is_empty() {
                return Err(err!(InputParameter, "target_domain_id: the template {} makes domains of its own", template));
            }
            let given = body.get("config").cloned().ok_or_else(|| err!(MissingParameter, "{} is missing", "config"))?;
            let all = part(&given, row.text("driver"))?;
            let (driver, template) = (row.text("driver").to_string(), template);
            self.try_out(&driver, &template, &all).await?;
            self.keep(row, all)?;
            row.set("status", "connected");
            row.set("config_version", 1);
            Ok(())
        })
    }

    fn created<'a>(&'a self, op: &'a Op<'a>, tx: &'a mut Tx, _body: &'a Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if row.text("template") == config::MULTI_DOMAIN || !row.text("target_domain_id").is_empty() || self.names_domains(row)? {
                return Ok(());
            }
            if tx.exists("domains", Cond::eq("name", row.name()).and(alive())).await? {
                return Err(err!(
                    DuplicateName,
                    "a domain named {} exists already; name it as target_domain, or choose another name",
                    row.name()
                ));
            }
            let meta = Standalone {
                id: base::hex_id(),
                name: row.name().to_string(),
                description: format!("Users of the directory {}.", row.name()),
                created_at: tx.now(),
                updated_at: tx.now(),
                ..Standalone::default()
            };
            let domain = Domain { meta, enabled: Enabled { enabled: true }, ..Domain::default() }.to_row();
            tx.insert(&domain).await?;
            resource::audit(tx, op.ctx, &domain, "create", String::new()).await?;
            tx.emit(crate::grants::change("domain", domain.id(), ChangeOp::Create, "")).await?;
            row.set("target_domain_id", domain.id());
            Ok(())
        })
    }

    fn update<'a>(&'a self, _op: &'a Op<'a>, _old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { interval(row) })
    }

    fn updated<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if old.flag("enabled") && !row.flag("enabled") {
                external::end_all(tx, old.id()).await?;
            }
            if old.id() == SQL_ID && (!row.flag("enabled") || old.name() != row.name()) {
                return Err(err!(
                    ProtectedResource,
                    "the identity provider {} came with the platform and cannot be renamed or disabled",
                    old.name()
                ));
            }
            Ok(())
        })
    }

    fn deletable<'a>(&'a self, _op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        let refusal = |row: &Row| {
            if row.id() == SQL_ID {
                return Some(err!(ProtectedResource, "the identity provider {} came with the platform and cannot be deleted", row.name()));
            }
            row.flag("enabled").then(|| err!(InvalidStatus, "the identity provider {} is enabled; disable it first", row.name()))
        };
        Box::pin(async move { Ok(rows.iter().map(refusal).collect()) })
    }

    fn delete<'a>(&'a self, op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row, _how: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async move {
            external::end_all(tx, row.id()).await?;
            // Whom nobody can vouch for any more goes with the provider; domains stay, they may hold projects, and so do users that an
            // administrator linked.
            for link in tx.list::<IdentityLink>(Cond::eq("identity_provider_id", row.id())).await? {
                let facts = match link.entity.as_str() {
                    USER => Some(api_identity::User::facts()),
                    GROUP => Some(api_identity::Group::facts()),
                    _ => None,
                };
                let Some(facts) = facts.filter(|_| link.id == link.object_id) else { continue };
                if let Some(old) = tx.one(facts, &link.object_id).await?.filter(|r| !r.flag("deleted")) {
                    provider::apply::gone(tx, op.ctx, &old).await?;
                }
            }
            tx.delete("identity_links", Cond::eq("identity_provider_id", row.id())).await?;
            row.set("sealed_config", "");
            row.set("is_default", false);
            Ok(Deleted::Now)
        })
    }

    fn filter<'a>(&'a self, op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if let Some(which) = params.text("sso_domain") {
                let mut usable = Cond::eq("is_sso", true).and(Cond::eq("enabled", true));
                if which != "all" {
                    usable = usable.and(Cond::eq("target_domain_id", op.engine.resolve(op.ctx, "domain", &which).await?.id()));
                }
                *cond = std::mem::replace(cond, Cond::True).and(usable);
            }
            Ok(())
        })
    }

    fn view<'a>(&'a self, _op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let ids = ids(&page.rows);
            let (users, groups) = (self.linked(&ids, USER, "users").await?, self.linked(&ids, GROUP, "groups").await?);
            for i in 0..page.rows.len() {
                let row = &page.rows[i];
                let (id, domain) = (row.id().to_string(), row.text("target_domain_id").to_string());
                let url = row.get("config").to_json()[row.text("driver")]["url"].clone();
                page.add(i, "url", url.as_str().unwrap_or_default());
                page.add(i, "target_domain", self.state.directory.domain_name(&domain));
                page.add(i, "user_count", Json::from(count_of(&users, &id)));
                page.add(i, "group_count", Json::from(count_of(&groups, &id)));
            }
            Ok(())
        })
    }
}
