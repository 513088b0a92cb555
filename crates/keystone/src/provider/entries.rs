//! What the objects of a directory mean: people, teams and, where there are any, domains.

use super::config::{Ldap as Config, MULTI_DOMAIN};
use super::dn;
use super::wire::{Depth, Directory, Entry, equals};
use base::Result;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Everything that is looked at of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Domains, when the directory has them.
    pub realms: Option<Vec<Realm>>,
    pub people: Vec<Person>,
    pub teams: Vec<Team>,
    /// Objects that cannot be brought over: their names, and why.
    pub unusable: Vec<(String, &'static str)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Realm {
    pub local_id: String,
    pub dn: String,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub local_id: String,
    /// In normal form, as all names here.
    pub dn: String,
    pub name: String,
    pub enabled: bool,
    pub displayname: String,
    pub email: String,
    pub mobile: String,
    /// Further attributes by the name they get here.
    pub extra: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Team {
    pub local_id: String,
    pub dn: String,
    pub name: String,
    /// Names of people and teams, or identifiers of people.
    pub members: Vec<String>,
}

/// Longest name that is taken over.
const LONGEST: usize = 128;

/// Asks for all of it.
pub async fn read(config: &Config, template: &str, directory: &mut Directory) -> Result<Snapshot> {
    let depth = |own: &str| if config.deep(own) { Depth::Sub } else { Depth::One };
    let mut out = Snapshot::default();
    if template == MULTI_DOMAIN {
        let asked = [config.domain_id_attribute.clone(), config.domain_name_attribute.clone()];
        let filter = all_of(&config.domain_objectclass, &config.domain_filter);
        let found = directory.search(config.domain_tree(), depth(&config.domain_query_scope), &filter, &asked).await?;
        let realms = found.iter().filter_map(|e| match realm(config, e) {
            Some(realm) => Some(realm),
            None => {
                out.unusable.push((e.dn.clone(), NAMELESS));
                None
            }
        });
        out.realms = Some(realms.collect());
    }
    let filter = all_of(&config.user_objectclass, &config.user_filter);
    for entry in directory.search(config.user_tree(), depth(&config.user_query_scope), &filter, &of_people(config)).await? {
        match person(config, &entry) {
            Some(person) => out.people.push(person),
            None => out.unusable.push((entry.dn, NAMELESS)),
        }
    }
    if !config.group_objectclass.is_empty() {
        let asked = [&config.group_id_attribute, &config.group_name_attribute, &config.group_member_attribute].map(Clone::clone);
        let filter = all_of(&config.group_objectclass, &config.group_filter);
        let found = directory.search(config.group_tree(), depth(&config.group_query_scope), &filter, &asked).await?;
        for mut entry in found {
            directory.complete(&mut entry, &config.group_member_attribute).await?;
            match team(config, &entry) {
                Some(team) => out.teams.push(team),
                None => out.unusable.push((entry.dn, NAMELESS)),
            }
        }
    }
    Ok(out)
}

const NAMELESS: &str = "it has no usable identifier or name";

/// The person with an identifier, if the directory has exactly one such.
pub async fn find(config: &Config, directory: &mut Directory, local_id: &str) -> Result<Option<(String, Person)>> {
    let filter = format!("(&{}{})", all_of(&config.user_objectclass, &config.user_filter), equals(&config.user_id_attribute, local_id));
    let depth = if config.deep(&config.user_query_scope) { Depth::Sub } else { Depth::One };
    let mut found = directory.search(config.user_tree(), depth, &filter, &of_people(config)).await?;
    let (Some(entry), true) = (found.pop(), found.is_empty()) else { return Ok(None) };
    // A directory may compare more loosely than we do; another's password must not open this account.
    Ok(person(config, &entry).filter(|p| p.local_id == local_id).map(|p| (entry.dn, p)))
}

fn all_of(class: &str, filter: &str) -> String {
    format!("(&{}{filter})", equals("objectClass", class))
}

fn of_people(config: &Config) -> Vec<String> {
    let mut asked = vec![config.user_id_attribute.clone(), config.user_name_attribute.clone()];
    asked.extend(config.mapping().map(|(there, _)| there.to_string()));
    if !config.user_enabled_attribute.is_empty() {
        asked.push(config.user_enabled_attribute.clone());
    }
    asked
}

fn name_of(entry: &Entry, attribute: &str) -> Option<String> {
    let name = entry.text(attribute)?;
    let usable = name.chars().count() <= LONGEST && !name.chars().any(char::is_control);
    usable.then(|| name.to_string())
}

fn realm(config: &Config, entry: &Entry) -> Option<Realm> {
    let (local_id, name) = (entry.identifier(&config.domain_id_attribute)?, name_of(entry, &config.domain_name_attribute)?);
    Some(Realm { local_id, dn: dn::normal(&entry.dn), name })
}

fn person(config: &Config, entry: &Entry) -> Option<Person> {
    let mut person = Person {
        local_id: entry.identifier(&config.user_id_attribute)?,
        dn: dn::normal(&entry.dn),
        name: name_of(entry, &config.user_name_attribute)?,
        enabled: enabled(config, entry),
        ..Person::default()
    };
    for (there, here) in config.mapping() {
        // The first attribute that has a value wins, so that several can stand for one field.
        let Some(value) = entry.text(there).map(|v| v.chars().filter(|c| !c.is_control()).take(LONGEST).collect::<String>()) else {
            continue;
        };
        let field = match here {
            "displayname" => &mut person.displayname,
            "email" => &mut person.email,
            "mobile" => &mut person.mobile,
            other => person.extra.entry(other.to_string()).or_default(),
        };
        if field.is_empty() {
            *field = value;
        }
    }
    Some(person)
}

fn team(config: &Config, entry: &Entry) -> Option<Team> {
    let (local_id, name) = (entry.identifier(&config.group_id_attribute)?, name_of(entry, &config.group_name_attribute)?);
    let members = entry.texts(&config.group_member_attribute);
    let members = if config.group_members_are_ids { members.map(str::to_string).collect() } else { members.map(dn::normal).collect() };
    Some(Team { local_id, dn: dn::normal(&entry.dn), name, members })
}

/// Whether an account can be used, by the attribute that says so.
fn enabled(config: &Config, entry: &Entry) -> bool {
    if config.user_enabled_attribute.is_empty() {
        return true;
    }
    let said = entry.text(&config.user_enabled_attribute).unwrap_or(&config.user_enabled_default);
    if said.is_empty() {
        return true;
    }
    let on = if config.user_enabled_mask != 0 {
        match said.parse::<i64>() {
            Ok(bits) => bits & config.user_enabled_mask != 0,
            // What cannot be read does not open an account.
            Err(_) => return false,
        }
    } else {
        !matches!(said.to_ascii_lowercase().as_str(), "false" | "no" | "off" | "0")
    };
    on != config.user_enabled_invert
}

/// The people of each team, those of teams within it included; by position in `people`. Teams may contain each other.
pub fn flatten(config: &Config, people: &[Person], teams: &[Team]) -> Vec<Vec<usize>> {
    let by_name: HashMap<&str, usize> = people.iter().enumerate().map(|(i, p)| (p.dn.as_str(), i)).collect();
    let by_id: HashMap<&str, usize> = people.iter().enumerate().map(|(i, p)| (p.local_id.as_str(), i)).collect();
    let team_named: HashMap<&str, usize> = teams.iter().enumerate().map(|(i, t)| (t.dn.as_str(), i)).collect();
    let mut direct: Vec<(Vec<usize>, Vec<usize>)> = Vec::with_capacity(teams.len());
    for team in teams {
        let (mut persons, mut within) = (Vec::new(), Vec::new());
        for member in &team.members {
            let member = member.as_str();
            if config.group_members_are_ids {
                persons.extend(by_id.get(member));
            } else if let Some(i) = by_name.get(member) {
                persons.push(*i);
            } else {
                within.extend(team_named.get(member));
            }
        }
        direct.push((persons, within));
    }
    (0..teams.len())
        .map(|start| {
            let (mut seen, mut open, mut members) = (HashSet::from([start]), vec![start], HashSet::new());
            while let Some(team) = open.pop() {
                members.extend(&direct[team].0);
                open.extend(direct[team].1.iter().filter(|t| seen.insert(**t)));
            }
            let mut members: Vec<usize> = members.into_iter().collect();
            members.sort_unstable();
            members
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Json;
    use serde_json::json;

    fn config(template: &str, more: Json) -> Config {
        let mut stored = json!({"url": "ldap://d", "suffix": "dc=x", "user": "cn=a", "password": "p"});
        stored.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Config::read(template, stored.as_object().unwrap()).unwrap()
    }

    fn entry(pairs: &[(&str, &str)]) -> Entry {
        let mut entry = Entry { dn: "CN=A,DC=X".into(), ..Entry::default() };
        for (k, v) in pairs {
            entry.attributes.entry(k.to_ascii_lowercase()).or_default().push(v.as_bytes().to_vec());
        }
        entry
    }

    #[test]
    fn who_is_enabled() {
        let ad = config("msad_one_domain", json!({}));
        let says = |c: &Config, attribute: &str, v: &str| enabled(c, &entry(&[(attribute, v)]));
        assert!(says(&ad, "userAccountControl", "512") && says(&ad, "userAccountControl", "66048") && enabled(&ad, &entry(&[])));
        assert!(!says(&ad, "userAccountControl", "514") && !says(&ad, "userAccountControl", "odd"));
        let ipa = config("openldap_one_domain", json!({}));
        assert!(enabled(&ipa, &entry(&[])) && says(&ipa, "nsAccountLock", "FALSE") && !says(&ipa, "nsAccountLock", "TRUE"));
        let plain = config(
            "openldap_one_domain",
            json!({"user_enabled_attribute": "employeeType", "user_enabled_invert": false, "user_enabled_default": "yes"}),
        );
        assert!(says(&plain, "employeeType", "active") && !says(&plain, "employeeType", "no"));
    }

    #[test]
    fn attributes_find_their_fields() {
        let c = config(
            "openldap_one_domain",
            json!({"user_additional_attribute_mapping": ["mobile:mobile", "telephoneNumber:mobile", "mail:email", "departmentNumber:department"]}),
        );
        let p = person(&c, &entry(&[("uid", "ann"), ("telephoneNumber", "1"), ("mail", "a@x"), ("departmentNumber", "7")])).unwrap();
        assert_eq!((p.name.as_str(), p.mobile.as_str(), p.email.as_str()), ("ann", "1", "a@x"));
        assert_eq!(p.extra["department"], "7");
        assert!(person(&c, &entry(&[("mail", "x")])).is_none());
        assert!(person(&c, &entry(&[("uid", "a\nb")])).is_none());
    }

    #[test]
    fn teams_within_teams() {
        let c = config("openldap_one_domain", json!({}));
        let people: Vec<Person> =
            (0..4).map(|i| Person { dn: format!("uid={i},dc=x"), local_id: i.to_string(), ..Person::default() }).collect();
        let team = |name: &str, members: &[&str]| Team {
            dn: format!("cn={name},dc=x"),
            members: members.iter().map(|m| (*m).into()).collect(),
            ..Team::default()
        };
        let teams = [
            team("all", &["cn=devs,dc=x", "cn=ops,dc=x", "cn=gone,dc=x"]),
            team("devs", &["uid=0,dc=x", "uid=1,dc=x", "uid=9,dc=x"]),
            team("ops", &["uid=1,dc=x", "uid=2,dc=x", "cn=all,dc=x"]),
            team("empty", &[]),
        ];
        assert_eq!(flatten(&c, &people, &teams), vec![vec![0, 1, 2], vec![0, 1], vec![0, 1, 2], vec![]]);
        let ids = config("openldap_one_domain", json!({"group_members_are_ids": true}));
        assert_eq!(flatten(&ids, &people, &[team("ids", &["3", "cn=devs,dc=x"])]), vec![vec![3]]);
    }
}
