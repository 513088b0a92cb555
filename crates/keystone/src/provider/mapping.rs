//! Which attribute of an authority is what here: the keys that all drivers of single sign-on share (spec 02 §10). Pure.

use super::config::GroupProject;
use super::external::External;
use base::{Json, Result, err};
use resource::Map;
use serde::Deserialize;

/// Names of attributes; a name with dots also finds a member of an object, such as `realm_access.roles`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    pub domain_name_attribute: String,
    pub domain_id_attribute: String,
    pub user_name_attribute: String,
    /// Instead of the subject of the protocol.
    pub user_id_attribute: String,
    pub user_displayname_attribute: String,
    pub user_email_attribute: String,
    pub user_mobile_attribute: String,
    /// Projects the user gets roles in, by name.
    pub project_attribute: String,
    /// Roles the user gets there, by name.
    pub roles_attribute: String,
    /// Groups the user is in, by name.
    pub groups_attribute: String,
    /// Project when the attribute names none.
    pub default_project_id: String,
    /// Role when the attribute names none.
    pub default_role_id: String,
    /// Roles that groups of the authority hold in projects.
    pub group_projects: Vec<GroupProject>,
    /// What the attributes are called on pages; shown, not used.
    pub attribute_names: Map,
}

/// Keys of [`Mapping`], with what they are for.
pub const KEYS: [(&str, &str); 14] = [
    ("domain_id_attribute", "identifies a domain and never changes"),
    ("domain_name_attribute", "the name of a domain"),
    ("user_id_attribute", "identifies a user and never changes"),
    ("user_name_attribute", "the name a user logs in with"),
    ("user_displayname_attribute", "the user's name for people"),
    ("user_email_attribute", "mail address"),
    ("user_mobile_attribute", "mobile number"),
    ("project_attribute", "projects the user gets roles in, by name"),
    ("roles_attribute", "roles the user gets there, by name"),
    ("groups_attribute", "groups the user is in, by name"),
    ("default_project_id", "project when the attribute names none"),
    ("default_role_id", "role when the attribute names none"),
    ("group_projects", "roles that groups hold in projects"),
    ("attribute_names", "what the attributes are called on pages"),
];

/// Somebody, in the words of this platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub subject: String,
    pub name: String,
    pub displayname: String,
    pub email: String,
    pub mobile: String,
    /// Identifier at the authority, and name.
    pub domain: Option<(String, String)>,
    pub groups: Vec<String>,
    pub projects: Vec<String>,
    pub roles: Vec<String>,
}

/// Longest name of anything here, characters.
const LONGEST: usize = 128;

impl Mapping {
    /// Takes the keys of the mapping out of a configuration; what is left is the driver's.
    pub fn take(all: &mut Map) -> Result<Mapping> {
        let mine: Map = KEYS.iter().filter_map(|(key, _)| all.shift_remove(*key).map(|value| ((*key).to_string(), value))).collect();
        serde_json::from_value(Json::Object(mine)).map_err(|e| err!(InputParameter, "the mapping of attributes cannot be read: {}", e))
    }

    /// Who was spoken of.
    pub fn read(&self, said: &External) -> Result<Person> {
        let one = |name: &str| texts(&said.attributes, name).into_iter().next().unwrap_or_default();
        let many = |name: &str| texts(&said.attributes, name).into_iter().filter(|t| t.chars().count() <= LONGEST).collect::<Vec<_>>();
        let subject = if self.user_id_attribute.is_empty() { said.subject.clone() } else { one(&self.user_id_attribute) };
        let name = one(&self.user_name_attribute);
        if let Some(long) = [&name].into_iter().find(|t| t.chars().count() > LONGEST) {
            return Err(err!(InvalidCredential, "the name {} that the identity provider gives is too long", long));
        }
        let (domain_id, domain) = (one(&self.domain_id_attribute), one(&self.domain_name_attribute));
        let domain = match (domain_id.is_empty(), domain.is_empty()) {
            (true, true) => None,
            (true, false) => Some((domain.clone(), domain)),
            (false, true) => Some((domain_id.clone(), domain_id)),
            (false, false) => Some((domain_id, domain)),
        };
        Ok(Person {
            subject,
            name,
            displayname: one(&self.user_displayname_attribute),
            email: one(&self.user_email_attribute),
            mobile: one(&self.user_mobile_attribute),
            domain,
            groups: many(&self.groups_attribute),
            projects: many(&self.project_attribute),
            roles: many(&self.roles_attribute),
        })
    }
}

/// The texts of an attribute: of itself, or of a member further in.
fn texts(all: &Map, name: &str) -> Vec<String> {
    if name.is_empty() {
        return Vec::new();
    }
    let found = all.get(name).or_else(|| {
        let mut parts = name.split('.');
        let first = all.get(parts.next()?)?;
        parts.try_fold(first, |json, part| json.get(part))
    });
    let text = |json: &Json| match json {
        Json::String(text) => Some(text.trim().to_string()).filter(|t| !t.is_empty()),
        Json::Number(n) => Some(n.to_string()),
        _ => None,
    };
    match found {
        Some(Json::Array(items)) => items.iter().filter_map(text).collect(),
        Some(one) => text(one).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(json: Json) -> Map {
        json.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn keys_are_the_fields() {
        for (key, _) in KEYS {
            let value = match key {
                "group_projects" => json!([]),
                "attribute_names" => json!({}),
                _ => json!("x"),
            };
            let mut all = map(json!({key: value, "endpoint": "e"}));
            Mapping::take(&mut all).expect(key);
            assert_eq!(all, map(json!({"endpoint": "e"})), "{key}");
        }
    }

    #[test]
    fn who_was_spoken_of() {
        let mapping = Mapping {
            user_name_attribute: "preferred_username".into(),
            user_email_attribute: "email".into(),
            groups_attribute: "groups".into(),
            roles_attribute: "realm_access.roles".into(),
            domain_name_attribute: "org".into(),
            ..Mapping::default()
        };
        let said = External {
            subject: "7".into(),
            attributes: map(json!({"preferred_username": "ann", "email": ["a@example.org", "b@example.org"], "groups": ["x", "", 5, {}],
                "realm_access": {"roles": "viewer"}, "org": "Acme"})),
            ..External::default()
        };
        let person = mapping.read(&said).expect("somebody");
        assert_eq!((person.subject.as_str(), person.name.as_str(), person.email.as_str()), ("7", "ann", "a@example.org"));
        assert_eq!((person.groups, person.roles), (vec!["x".to_string(), "5".into()], vec!["viewer".to_string()]));
        assert_eq!(person.domain, Some(("Acme".into(), "Acme".into())));
        let by_id = Mapping { user_id_attribute: "nothing".into(), ..mapping };
        assert_eq!(by_id.read(&said).expect("somebody").subject, "", "no fallback: another attribute would be another user");
    }
}
