//! What differs between a directory and the rows here, as steps to take. Pure: no database, no network, no clock.

use super::config::Ldap as Config;
use super::entries::{Snapshot, flatten};
use super::report::Report;
use super::{DOMAIN, GROUP, USER, dn, public_id};
use api_identity::{Domain, Group, IdentityLink, User};
use base::meta::{DomainOwned, Enabled, Standalone};
use base::{Json, Resource, Row, Value};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The provider, as far as planning needs it.
pub struct Source<'a> {
    pub id: &'a str,
    pub name: &'a str,
    /// Where everybody goes when the directory has no domains of its own.
    pub domain: &'a str,
    pub config: &'a Config,
    /// Language of messages to new users.
    pub language: &'a str,
}

/// What is here already.
#[derive(Default)]
pub struct Present {
    /// By the identifier of the link.
    pub users: HashMap<String, Known>,
    pub groups: HashMap<String, Known>,
    pub domains: HashMap<String, Known>,
    /// Users of this provider in its groups, by group.
    pub members: HashMap<String, HashSet<String>>,
    /// Living rows by domain and name, whosever they are.
    pub user_names: HashMap<(String, String), String>,
    pub group_names: HashMap<(String, String), String>,
    pub domain_names: HashMap<String, String>,
}

/// A link and the row it speaks of, which may be marked deleted.
pub struct Known {
    pub link: IdentityLink,
    pub row: Option<Row>,
}

impl Known {
    fn living(&self) -> Option<&Row> {
        self.row.as_ref().filter(|row| !row.flag("deleted"))
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Step {
    /// Make a row or change it; with its link when that is new or different, and its tags when they are.
    Put { old: Option<Row>, new: Row, link: Option<IdentityLink>, tags: Option<BTreeMap<String, String>> },
    /// Take a row away. Its link stays, so that the object is known again when it comes back.
    Gone { old: Row, link: IdentityLink },
    /// Move users into a group and out of it.
    Members { group: GroupRef, enter: Vec<String>, leave: Vec<String> },
}

#[derive(Clone, Debug)]
pub struct GroupRef {
    pub id: String,
    pub name: String,
    pub domain_id: String,
}

/// All there is to do.
#[derive(Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub report: Report,
    /// Users and groups that were there, and how many of them are gone: what the guard looks at.
    pub users_gone: (usize, usize),
    pub groups_gone: (usize, usize),
}

/// Members moved in one step.
const AT_ONCE: usize = 500;

const TAKEN: &str = "its name belongs to another object of the domain";
const TWICE: &str = "another entry of the directory has the same identifier or name";

impl Plan {
    /// Whether more than half of what was there is gone. Nobody dismisses half of the house in a quarter of an hour; a broken search does.
    pub fn implausible(&self) -> Option<(&'static str, usize, usize)> {
        let half = |(had, gone): (usize, usize)| gone > 0 && gone * 2 > had;
        if half(self.users_gone) {
            return Some(("users", self.users_gone.1, self.users_gone.0));
        }
        half(self.groups_gone).then_some(("groups", self.groups_gone.1, self.groups_gone.0))
    }
}

pub fn plan(source: &Source<'_>, snapshot: &Snapshot, present: &Present) -> Plan {
    let mut plan = Plan::default();
    for (name, reason) in &snapshot.unusable {
        plan.report.users.skipped.add(name, reason);
    }
    let homes = domains(source, snapshot, present, &mut plan);
    let (placed, gone) = users(source, snapshot, present, &homes, &mut plan);
    groups(source, snapshot, present, &homes, &placed, &gone, &mut plan);
    plan
}

/// Where objects go: normal names of trees with the domains they stand for.
struct Homes {
    all: Option<String>,
    trees: Vec<(String, String)>,
}

impl Homes {
    /// The domain of an object, by the longest tree it lies in.
    fn of(&self, name: &str) -> Option<&str> {
        let found = self.trees.iter().filter(|(tree, _)| dn::within(name, tree)).max_by_key(|(tree, _)| tree.len());
        found.map(|(_, domain)| domain.as_str()).or(self.all.as_deref())
    }
}

fn domains(source: &Source<'_>, snapshot: &Snapshot, present: &Present, plan: &mut Plan) -> Homes {
    let Some(realms) = &snapshot.realms else {
        return Homes { all: Some(source.domain.to_string()), trees: Vec::new() };
    };
    let mut homes = Homes { all: None, trees: Vec::new() };
    let (mut seen, mut names) = (HashSet::new(), HashSet::new());
    for realm in realms {
        let id = public_id(source.id, DOMAIN, &realm.local_id);
        if !seen.insert(id.clone()) || !names.insert(realm.name.clone()) {
            plan.report.domains.skipped.add(&realm.name, TWICE);
            continue;
        }
        if present.domain_names.get(&realm.name).is_some_and(|holder| *holder != id) {
            plan.report.domains.skipped.add(&realm.name, "another domain has this name");
            continue;
        }
        homes.trees.push((realm.dn.clone(), id.clone()));
        let known = present.domains.get(&id);
        let old = known.and_then(|k| k.row.clone());
        let mut new = old.clone().unwrap_or_else(|| Domain { enabled: Enabled { enabled: true }, ..Domain::default() }.to_row());
        let revived = alive_again(&mut new);
        if revived {
            new.set("enabled", true);
        }
        new.set("id", id.as_str());
        new.set("name", realm.name.as_str());
        let link = known.is_none().then(|| link(source, DOMAIN, &realm.local_id, &id, true, Json::Null));
        let made = old.is_none() || revived;
        put(plan, |r| &mut r.domains, made, old, new, link, None);
    }
    for known in present.domains.values().filter(|k| !seen.contains(&k.link.id) && k.living().is_some()) {
        let name = known.row.as_ref().map_or("", |r| r.name());
        plan.report.domains.skipped.add(name, "it is gone from the directory; domains are deleted by an administrator");
    }
    homes
}

/// Marks a deleted row as living; whether it was deleted.
fn alive_again(row: &mut Row) -> bool {
    if !row.flag("deleted") {
        return false;
    }
    row.set("deleted", false);
    row.set("deleted_at", Value::Null);
    true
}

fn link(source: &Source<'_>, entity: &str, local_id: &str, object: &str, enabled: bool, extra: Json) -> IdentityLink {
    IdentityLink {
        id: public_id(source.id, entity, local_id),
        identity_provider_id: source.id.to_string(),
        entity: entity.to_string(),
        local_id: local_id.to_string(),
        object_id: object.to_string(),
        enabled,
        extra,
        ..IdentityLink::default()
    }
}

/// Notes a row to be written, unless it is as it should be.
fn put(
    plan: &mut Plan,
    tally: impl Fn(&mut Report) -> &mut super::report::Tally,
    made: bool,
    old: Option<Row>,
    new: Row,
    link: Option<IdentityLink>,
    tags: Option<BTreeMap<String, String>>,
) {
    let differs = old.as_ref().is_none_or(|old| old.values != new.values) || tags.is_some();
    let tally = tally(&mut plan.report);
    match (made, differs) {
        (true, _) => tally.created.add(new.name()),
        (false, true) if old.as_ref().is_some_and(|o| o.flag("enabled")) && !new.flag("enabled") && new.facts.has("enabled") => {
            tally.disabled.add(new.name());
        }
        (false, true) => tally.updated.add(new.name()),
        (false, false) => tally.unchanged += 1,
    }
    if differs || link.is_some() {
        plan.steps.push(Step::Put { old, new, link, tags });
    }
}

/// Plans the users; answers the row of each person, where it has one, and the users that go.
fn users(
    source: &Source<'_>,
    snapshot: &Snapshot,
    present: &Present,
    homes: &Homes,
    plan: &mut Plan,
) -> (Vec<Option<String>>, HashSet<String>) {
    let config = source.config;
    let ids: Vec<String> = snapshot.people.iter().map(|p| public_id(source.id, USER, &p.local_id)).collect();
    let there: HashSet<&str> = ids.iter().map(String::as_str).collect();
    let gone = vanished(source, present, &there, plan);

    let (mut seen, mut names) = (HashSet::new(), HashSet::new());
    let mut placed = vec![None; ids.len()];
    for (i, person) in snapshot.people.iter().enumerate() {
        let id = &ids[i];
        let known = present.users.get(id);
        let living = known.and_then(Known::living);
        let object = known.map_or(id.as_str(), |k| k.link.object_id.as_str());
        let skipped = &mut plan.report.users.skipped;
        let Some(domain) = homes.of(&person.dn) else {
            skipped.add(&person.name, "it lies in no domain of the directory");
            continue;
        };
        let name = (domain.to_string(), person.name.clone());
        if !seen.insert(id.clone()) || !names.insert(name.clone()) {
            skipped.add(&person.name, TWICE);
            continue;
        }
        if !person.enabled && living.is_none() && !config.sync_disabled_users {
            skipped.add(&person.name, "it is disabled in the directory");
            continue;
        }
        if present.user_names.get(&name).is_some_and(|holder| holder != object && !gone.contains(holder)) {
            skipped.add(&person.name, TAKEN);
            continue;
        }
        placed[i] = Some(object.to_string());

        let old = known.and_then(|k| k.row.clone());
        let mut new = old.clone().unwrap_or_else(|| newcomer(source));
        let revived = alive_again(&mut new);
        let wakes = person.enabled && !config.disable_user_on_import;
        match known {
            // What an administrator has enabled or disabled here stays, until the directory says something new.
            Some(k) if !revived && old.is_some() && k.link.enabled == person.enabled => {}
            _ => new.set("enabled", wakes),
        }
        for (column, value) in [
            ("id", object),
            ("name", person.name.as_str()),
            ("domain_id", domain),
            ("displayname", person.displayname.as_str()),
            ("email", person.email.as_str()),
            ("mobile", person.mobile.as_str()),
        ] {
            new.set(column, value);
        }
        let extra = if person.extra.is_empty() { Json::Null } else { serde_json::json!(person.extra) };
        let tags = known.map_or(!person.extra.is_empty(), |k| k.link.extra != extra).then(|| person.extra.clone());
        let same = known.is_some_and(|k| k.link.enabled == person.enabled && k.link.extra == extra);
        let link = (!same).then(|| link(source, USER, &person.local_id, object, person.enabled, extra));
        let made = old.is_none() || revived;
        put(plan, |r| &mut r.users, made, old, new, link, tags);
    }
    (placed, gone)
}

fn newcomer(source: &Source<'_>) -> Row {
    let user = User { lang: source.language.to_string(), allow_web_console: true, owned: owned(""), ..User::default() };
    user.to_row()
}

fn owned(domain: &str) -> DomainOwned {
    DomainOwned { domain_id: domain.to_string(), domain_src: "local".into() }
}

/// Users the directory no longer has. Answers those whose rows go.
fn vanished(source: &Source<'_>, present: &Present, there: &HashSet<&str>, plan: &mut Plan) -> HashSet<String> {
    let remove = source.config.vanished_users == "remove";
    let mut going = HashSet::new();
    for (id, known) in &present.users {
        let counted = known.living().is_some() && (remove || known.link.enabled);
        plan.users_gone.0 += usize::from(counted);
        if there.contains(id.as_str()) {
            continue;
        }
        plan.users_gone.1 += usize::from(counted);
        match known.living() {
            // Gone before.
            None => {}
            Some(row) if remove => {
                going.insert(row.id().to_string());
                plan.report.users.removed.add(row.name());
                plan.steps.push(Step::Gone { old: row.clone(), link: known.link.clone() });
            }
            Some(row) if known.link.enabled => {
                let mut new = row.clone();
                new.set("enabled", false);
                let link = IdentityLink { enabled: false, ..known.link.clone() };
                if row.flag("enabled") {
                    plan.report.users.disabled.add(row.name());
                }
                plan.steps.push(Step::Put { old: Some(row.clone()), new, link: Some(link), tags: None });
            }
            Some(_) => plan.report.users.unchanged += 1,
        }
    }
    going
}

fn groups(
    source: &Source<'_>,
    snapshot: &Snapshot,
    present: &Present,
    homes: &Homes,
    placed: &[Option<String>],
    gone: &HashSet<String>,
    plan: &mut Plan,
) {
    let ids: Vec<String> = snapshot.teams.iter().map(|t| public_id(source.id, GROUP, &t.local_id)).collect();
    let there: HashSet<&str> = ids.iter().map(String::as_str).collect();
    let mut going = HashSet::new();
    for (id, known) in &present.groups {
        plan.groups_gone.0 += usize::from(known.living().is_some());
        if there.contains(id.as_str()) {
            continue;
        }
        if let Some(row) = known.living() {
            plan.groups_gone.1 += 1;
            going.insert(row.id().to_string());
            plan.report.groups.removed.add(row.name());
            plan.steps.push(Step::Gone { old: row.clone(), link: known.link.clone() });
        }
    }

    let members = flatten(source.config, &snapshot.people, &snapshot.teams);
    let (mut seen, mut names) = (HashSet::new(), HashSet::new());
    for (i, team) in snapshot.teams.iter().enumerate() {
        let id = &ids[i];
        let known = present.groups.get(id);
        let object = known.map_or(id.as_str(), |k| k.link.object_id.as_str());
        let skipped = &mut plan.report.groups.skipped;
        let Some(domain) = homes.of(&team.dn) else {
            skipped.add(&team.name, "it lies in no domain of the directory");
            continue;
        };
        let name = (domain.to_string(), team.name.clone());
        if !seen.insert(id.clone()) || !names.insert(name.clone()) {
            skipped.add(&team.name, TWICE);
            continue;
        }
        if present.group_names.get(&name).is_some_and(|holder| holder != object && !going.contains(holder)) {
            skipped.add(&team.name, TAKEN);
            continue;
        }
        let old = known.and_then(|k| k.row.clone());
        let mut new = old.clone().unwrap_or_else(|| {
            let description = format!("A group of the directory {}.", source.name);
            Group { meta: Standalone { description, ..Standalone::default() }, owned: owned(domain), ..Group::default() }.to_row()
        });
        let revived = alive_again(&mut new);
        new.set("id", object);
        new.set("name", team.name.as_str());
        new.set("domain_id", domain);
        let link = known.is_none().then(|| link(source, GROUP, &team.local_id, object, true, Json::Null));
        let made = old.is_none() || revived;
        put(plan, |r| &mut r.groups, made, old, new, link, None);

        let wanted: HashSet<&str> = members[i].iter().filter_map(|p| placed[*p].as_deref()).collect();
        let none = HashSet::new();
        let held = present.members.get(object).unwrap_or(&none);
        let mut enter: Vec<&str> = wanted.iter().filter(|u| !held.contains(**u)).copied().collect();
        let mut leave: Vec<&str> = held.iter().map(String::as_str).filter(|u| !wanted.contains(u) && !gone.contains(*u)).collect();
        enter.sort_unstable();
        leave.sort_unstable();
        plan.report.memberships.added += enter.len();
        plan.report.memberships.removed += leave.len();
        let group = GroupRef { id: object.to_string(), name: team.name.clone(), domain_id: domain.to_string() };
        let texts = |all: &[&str]| all.iter().map(|s| (*s).to_string()).collect::<Vec<_>>();
        for some in enter.chunks(AT_ONCE) {
            plan.steps.push(Step::Members { group: group.clone(), enter: texts(some), leave: Vec::new() });
        }
        for some in leave.chunks(AT_ONCE) {
            plan.steps.push(Step::Members { group: group.clone(), enter: Vec::new(), leave: texts(some) });
        }
    }
}
