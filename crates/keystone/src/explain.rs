//! The access explainer: whether somebody may do something and why, and who may. It asks the same gate that decides requests, so that it cannot
//! say anything else than happens; the reasons are read from the same ties.

use crate::{grants, provider, rules::Tie, state::State};
use api_identity::{
    AccessAnswer, AccessHolder, AccessReason, AccessTarget, Assignment, GROUP_DOMAIN, GROUP_PROJECT, Group, Named, USER_DOMAIN,
    USER_PROJECT, User,
};
use base::{Bearer, Caller, Ctx, Lang, Resource, Result, Role, Row, Said, SaidPart, Scope, err, said};
use http::i18n::say;
use resource::{Ask, Conditional, Engine};
use service::has_all;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};
use store::{Cond, Order, Read, Select};

/// A permission by its words: `compute/servers/perform/start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    words: Vec<String>,
}

impl Permission {
    pub fn parse(text: &str) -> Result<Permission> {
        let words: Vec<String> = text.trim_matches('/').split('/').map(str::to_string).collect();
        if words.len() < 3 || words.iter().any(String::is_empty) {
            return Err(err!(
                InputParameter,
                "permission {}: use the form service/resource/action, such as compute/servers/perform/start",
                text
            ));
        }
        Ok(Permission { words })
    }

    /// Calls `f` with the permission as a question to the policies.
    fn ask<T>(&self, f: impl FnOnce(&Ask<'_>) -> T) -> T {
        let extra: Vec<&str> = self.words[3..].iter().map(String::as_str).collect();
        f(&Ask { service: &self.words[0], resource: &self.words[1], action: &self.words[2], extra: &extra })
    }

    fn text(&self) -> String {
        self.words.join("/")
    }
}

/// On what: nothing in particular, a row of this service, or something of another service by its owner and tags.
#[derive(Clone, Debug)]
pub enum Object {
    Any,
    Row(Box<Row>),
    Owned { project_id: String, domain_id: String, tags: BTreeMap<String, String> },
}

/// What the gate says.
struct Verdict {
    allowed: bool,
    /// The scope that takes; none when the question is about nothing in particular.
    needs: Option<Scope>,
    /// Whether the object can be seen at all: what cannot is not found.
    seen: bool,
}

async fn verdict(engine: &Engine, caller: &Arc<Caller>, ip: Option<IpAddr>, permission: &Permission, object: &Object) -> Result<Verdict> {
    let gate = engine.gate();
    let rights = permission.ask(|ask| (gate.widest(caller, ip, ask), gate.conditional(caller, ip, ask)));
    match object {
        // A new row of the caller's own: what that takes the kind says.
        Object::Any
            if permission.words[2] == "create" && permission.words[0] == engine.service && engine.kind(&permission.words[1]).is_some() =>
        {
            let needs = engine.kind(&permission.words[1]).map_or(Scope::System, resource::breadth);
            let allowed = permission.ask(|ask| gate.allows(caller, ip, ask, needs)) || rights.1.iter().any(|c| c.scope >= needs);
            Ok(Verdict { allowed, needs: Some(needs), seen: true })
        }
        Object::Any => Ok(Verdict { allowed: rights.0 > Scope::None || !rights.1.is_empty(), needs: None, seen: true }),
        Object::Row(row) => {
            let ctx = Ctx { caller: caller.clone(), peer: ip, bearer: Bearer::default(), ..Ctx::platform("explain") };
            let kind = engine.kind_named(row.facts.name).ok_or_else(|| base::Error::internal(format!("no kind {}", row.facts.name)))?;
            let extra: Vec<&str> = permission.words[3..].iter().map(String::as_str).collect();
            let seen = engine.meets_row(&ctx, kind, row).await?;
            let allowed = match permission.words[2].as_str() {
                "get" if extra.is_empty() => seen,
                action => seen && engine.permits(&ctx, kind, row, action, &extra).await?,
            };
            Ok(Verdict { allowed, needs: Some(engine.reach(&ctx, kind, row).await?), seen })
        }
        Object::Owned { project_id, domain_id, tags } => {
            let needs = if !project_id.is_empty() && *project_id == caller.project_id {
                Scope::Project
            } else if !domain_id.is_empty() && *domain_id == caller.project_domain_id {
                Scope::Domain
            } else {
                Scope::System
            };
            let meets = |c: &Conditional| {
                let member = |ids: &Option<Vec<String>>, id: &str| ids.as_ref().is_none_or(|ids| ids.iter().any(|i| i == id));
                let tagged = c.tags.is_empty() || c.tags.iter().any(|set| has_all(set, |key| tags.get(key).map(String::as_str)));
                c.scope >= needs && tagged && member(&c.projects, project_id) && member(&c.domains, domain_id)
            };
            let allowed = permission.ask(|ask| gate.allows(caller, ip, ask, needs)) || rights.1.iter().any(meets);
            Ok(Verdict { allowed, needs: Some(needs), seen: true })
        }
    }
}

/// Whether a caller may, and why, in a language.
pub async fn can(
    state: &State,
    engine: &Engine,
    caller: &Arc<Caller>,
    ip: Option<IpAddr>,
    permission: &Permission,
    object: &Object,
    lang: Lang,
) -> Result<AccessAnswer> {
    let verdict = verdict(engine, caller, ip, permission, object).await?;
    let paths = paths(state, caller, lang).await?;
    let mut reasons: Vec<AccessReason> = Vec::new();
    for tie in state.rules.ties_of(caller) {
        let roles = caller.roles.iter().filter(|r| tie.role_id().is_empty() || r.id == tie.role_id());
        let mut ways: Vec<(String, String)> = roles.map(|r| (r.name.clone(), paths.get(&r.id).cloned().unwrap_or_default())).collect();
        if tie.everybody() && ways.is_empty() {
            ways.push((String::new(), String::new()));
        }
        let absent = tie.absent(caller, ip, state.clock.now());
        for (role, path) in ways {
            reasons.push(reason(&tie, permission, role, path, absent.as_ref(), lang));
        }
    }
    // Those that speak of the request come first, the allowing before the denying.
    reasons.sort_by_key(|r| (!(r.allow && r.holds.is_empty()), r.rule.is_empty(), !r.allow, r.policy.clone()));
    let (widest, conditional) = permission.ask(|ask| (engine.gate().widest(caller, ip, ask), engine.gate().conditional(caller, ip, ask)));
    let mut answer = AccessAnswer {
        allowed: verdict.allowed,
        permission: permission.text(),
        needs: verdict.needs.map(|s| s.name().to_string()).unwrap_or_default(),
        scope: widest.name().to_string(),
        conditional_scope: conditional.iter().map(|c| c.scope).max().map(|s| s.name().to_string()).unwrap_or_default(),
        seen: verdict.seen,
        user: Named { id: caller.user_id.clone(), name: caller.user.clone() },
        project: Named { id: caller.project_id.clone(), name: caller.project.clone() },
        roles: caller.roles.iter().map(|r| r.name.clone()).collect(),
        reasons,
        why: Vec::new(),
    };
    answer.why = why(&answer, lang);
    Ok(answer)
}

fn reason(tie: &Tie, permission: &Permission, role: String, path: String, absent: Option<&Said>, lang: Lang) -> AccessReason {
    let rule = permission.ask(|ask| tie.policy().decide(ask.service, ask.resource, ask.action, ask.extra).cloned());
    AccessReason {
        policy: tie.policy().name.clone(),
        scope: tie.scope().name().to_string(),
        allow: rule.as_ref().is_some_and(|r| r.allow),
        rule: rule.map(|r| r.to_string()).unwrap_or_default(),
        role,
        path,
        condition: tie.policy().filter.said().map(|s| say(&s, lang)).unwrap_or_default(),
        holds: absent.map(|s| say(s, lang)).unwrap_or_default(),
    }
}

/// A scope by its name.
fn scope(name: &str) -> Said {
    match name {
        "system" => said!("system"),
        "domain" => said!("domain"),
        "project" => said!("project"),
        other => said!("{}", other),
    }
}

/// The answer in sentences.
fn why(answer: &AccessAnswer, lang: Lang) -> Vec<String> {
    let who = if answer.user.name.is_empty() { said!("a caller without a token") } else { said!("{}", &answer.user.name) };
    let place = if answer.project.name.is_empty() { Said::default() } else { said!(" in the project {}", &answer.project.name) };
    let at = if answer.needs.is_empty() { Said::default() } else { said!(" at scope {}", scope(&answer.needs)) };
    let mut out = vec![match answer.allowed {
        true => said!("{}{} may {}{}", who, place, &answer.permission, at),
        false => said!("{}{} may not {}{}", who, place, &answer.permission, at),
    }];
    if !answer.seen {
        out.push(said!("the object cannot be seen with these rights: requests about it answer that it is not found"));
    }
    let line = |r: &AccessReason| {
        let rule = r.rule.rsplit_once(": ").map_or(r.rule.as_str(), |(path, _)| path);
        let verdict = if r.allow { said!("allow") } else { said!("deny") };
        let mut way = vec![said!("policy {} at scope {}", &r.policy, scope(&r.scope)), said!("rule {}: {}", rule, verdict)];
        if !r.path.is_empty() {
            way.insert(0, said!("{}", &r.path));
        }
        let condition = if r.condition.is_empty() { Said::default() } else { said!(", only for {}", &r.condition) };
        let absent = if r.holds.is_empty() { Said::default() } else { said!(" (does not hold now: {})", &r.holds) };
        said!("{}{}{}", SaidPart::many(" → ", way), condition, absent)
    };
    let speaking: Vec<&AccessReason> = answer.reasons.iter().filter(|r| !r.rule.is_empty()).collect();
    match (answer.allowed, speaking.is_empty()) {
        (false, true) => out.push(said!("none of {} policies has a rule for it", answer.reasons.len())),
        _ => out.extend(speaking.iter().map(|r| line(r))),
    }
    out.iter().map(|s| say(s, lang)).collect()
}

/// How a caller came by each of its roles: `user alice → group devs → role project_owner in demo`. Of a group that an identity provider keeps
/// it is said which: that is where membership changes.
async fn paths(state: &State, caller: &Caller, lang: Lang) -> Result<HashMap<String, String>> {
    let target = if caller.project_id.is_empty() { &caller.project_domain_id } else { &caller.project_id };
    let place = if caller.project_id.is_empty() { &caller.project_domain } else { &caller.project };
    if caller.is_guest() || target.is_empty() {
        return Ok(HashMap::new());
    }
    let mut db = state.db.read();
    let held = grants::of_user(&mut db, &caller.user_id, Some(target)).await?;
    let actors: BTreeSet<&str> = held.iter().map(|a| a.actor_id.as_str()).collect();
    let groups = names(state, Group::facts(), actors.clone()).await?;
    let homes = provider::login::names_of_groups(state, actors).await?;
    let mut out: HashMap<String, String> = HashMap::new();
    for a in held {
        let role = state.directory.role_name(&a.role_id);
        let group = groups.get(&a.actor_id).map_or(a.actor_id.as_str(), String::as_str);
        let path = match (a.actor_id == caller.user_id, homes.get(&a.actor_id)) {
            (true, _) => said!("user {} → role {} in {}", &caller.user, role, place),
            (false, None) => said!("user {} → group {} → role {} in {}", &caller.user, group, role, place),
            (false, Some(home)) => {
                said!("user {} → group {} (of the identity provider {}) → role {} in {}", &caller.user, group, home, role, place)
            }
        };
        // The direct way explains more than one through a group.
        let entry = out.entry(a.role_id).or_default();
        if entry.is_empty() || a.actor_id == caller.user_id {
            *entry = say(&path, lang);
        }
    }
    Ok(out)
}

async fn names(state: &State, facts: &'static base::Facts, ids: BTreeSet<&str>) -> Result<HashMap<String, String>> {
    let rows = state.db.read().find(facts, Cond::is_in("id", ids)).await?;
    Ok(rows.iter().map(|r| (r.id().to_string(), r.name().to_string())).collect())
}

/// Holders in one answer, at most.
const MOST: usize = 1000;
/// Assignments looked at, at most.
const LOOKED_AT: u64 = 20_000;

/// Who may, as far as `visible` (a condition on assignments) lets the asker look; and whether there are more.
pub async fn who_can(
    state: &State,
    engine: &Engine,
    permission: &Permission,
    object: &Object,
    visible: Cond,
    lang: Lang,
) -> Result<(Vec<AccessHolder>, bool)> {
    let ties = state.rules.allowing(|policy| permission.ask(|a| policy.allows(a.service, a.resource, a.action, a.extra)));
    let roles: BTreeSet<&str> = ties.iter().map(Tie::role_id).filter(|id| !id.is_empty()).collect();
    let mut db = state.db.read();
    let cond = Cond::is_in("role_id", roles.iter().copied()).and(visible);
    let found = db.page(Assignment::facts(), cond, vec![Order::asc("id")], LOOKED_AT + 1, 0).await?;
    let mut more = found.len() as u64 > LOOKED_AT;
    let assignments: Vec<Assignment> = found.iter().map(Assignment::from_row).collect();
    let members = members(state, &assignments).await?;
    // Every user with all such roles in each place, and the way to each role.
    let mut seats: BTreeMap<(String, String, bool), BTreeMap<String, String>> = BTreeMap::new();
    for a in &assignments {
        let group = a.r#type == GROUP_PROJECT || a.r#type == GROUP_DOMAIN;
        let domain = a.r#type == USER_DOMAIN || a.r#type == GROUP_DOMAIN;
        let users = if group { members.get(&a.actor_id).cloned().unwrap_or_default() } else { vec![a.actor_id.clone()] };
        for user in users {
            let ways = seats.entry((user, a.target_id.clone(), domain)).or_default();
            let way = ways.entry(a.role_id.clone()).or_default();
            if !group {
                way.clear();
            } else if way.is_empty() {
                *way = a.actor_id.clone();
            }
        }
    }
    let users: BTreeSet<&str> = seats.keys().map(|(user, ..)| user.as_str()).collect();
    let users: HashMap<String, Row> = db
        .find(User::facts(), Cond::is_in("id", users).and(Cond::eq("deleted", false)))
        .await?
        .into_iter()
        .map(|r| (r.id().to_string(), r))
        .collect();
    let groups =
        names(state, Group::facts(), assignments.iter().filter(|a| a.r#type != USER_PROJECT).map(|a| a.actor_id.as_str()).collect())
            .await?;
    let mut out = Vec::new();
    for ((user, target, domain), ways) in &seats {
        let Some(row) = users.get(user).filter(|u| u.flag("enabled")) else { continue };
        let caller = Arc::new(seat(state, row, target, *domain, ways.keys()));
        if !verdict(engine, &caller, None, permission, object).await?.allowed {
            continue;
        }
        if out.len() == MOST {
            more = true;
            break;
        }
        let tie = ties
            .iter()
            .filter(|t| ways.contains_key(t.role_id()) && t.absent(&caller, None, state.clock.now()).is_none())
            .max_by_key(|t| t.scope());
        let Some(tie) = tie else { continue };
        let group = ways.get(tie.role_id()).and_then(|g| groups.get(g)).cloned().unwrap_or_default();
        let reason = reason(tie, permission, state.directory.role_name(tie.role_id()), String::new(), None, lang);
        out.push(AccessHolder {
            user: Named { id: user.clone(), name: row.name().to_string() },
            target: AccessTarget {
                kind: if *domain { "domain" } else { "project" }.to_string(),
                id: target.clone(),
                name: if *domain { caller.project_domain.clone() } else { caller.project.clone() },
            },
            group,
            role: reason.role,
            policy: reason.policy,
            scope: reason.scope,
            rule: reason.rule,
            condition: reason.condition,
        });
    }
    Ok((out, more))
}

async fn members(state: &State, assignments: &[Assignment]) -> Result<HashMap<String, Vec<String>>> {
    let groups: BTreeSet<&str> = assignments.iter().filter(|a| a.r#type != USER_PROJECT).map(|a| a.actor_id.as_str()).collect();
    let mut out: HashMap<String, Vec<String>> = HashMap::new();
    if groups.is_empty() {
        return Ok(out);
    }
    use base::Kind::Text;
    let select = Select::from("memberships").column("group_id", Text).column("user_id", Text).filter(Cond::is_in("group_id", groups));
    for row in state.db.read().rows(&select).await? {
        out.entry(row[0].as_str().to_string()).or_default().push(row[1].as_str().to_string());
    }
    Ok(out)
}

/// The caller a user would be in a place with these roles.
fn seat<'a>(state: &State, user: &Row, target: &str, domain: bool, roles: impl Iterator<Item = &'a String>) -> Caller {
    let owner = if domain { state.directory.find_domain(target) } else { state.directory.find_project(target) }.unwrap_or_default();
    Caller {
        user_id: user.id().to_string(),
        user: user.name().to_string(),
        user_domain_id: user.text("domain_id").to_string(),
        user_domain: state.directory.domain_name(user.text("domain_id")),
        project_id: owner.project_id,
        project: owner.project,
        project_domain_id: owner.domain_id,
        project_domain: owner.domain,
        roles: roles.map(|id| Role { id: id.clone(), name: state.directory.role_name(id) }).collect(),
        is_system_account: user.flag("is_system_account"),
    }
}

/// The caller a user would be in a project: with every role it has there.
pub async fn as_member(state: &State, user: &Row, project: &str) -> Result<Caller> {
    let mut roles: BTreeSet<String> = BTreeSet::new();
    if !project.is_empty() {
        roles.extend(grants::of_user(&mut state.db.read(), user.id(), Some(project)).await?.into_iter().map(|a| a.role_id));
    }
    Ok(seat(state, user, project, false, roles.iter()))
}

/// What everybody who is logged in may, by rules of the platform and bindings without a role.
pub fn everybody(state: &State, permission: &Permission, lang: Lang) -> Vec<AccessReason> {
    let ties = state.rules.allowing(|policy| permission.ask(|a| policy.allows(a.service, a.resource, a.action, a.extra)));
    ties.iter().filter(|t| t.everybody()).map(|t| reason(t, permission, String::new(), String::new(), None, lang)).collect()
}
