//! The configuration of a directory: its keys, the presets of the templates, and what is wrong with it before anybody is asked.

use api_identity::Secret;
use base::{Json, Result, err};
use resource::Map;
use serde::Deserialize;
use serde_json::json;

/// Drivers, in the order they are told to users.
pub const DRIVERS: [&str; 2] = ["sql", "ldap"];
/// Templates of the driver `ldap`.
pub const TEMPLATES: [&str; 3] = ["openldap_one_domain", "msad_one_domain", "msad_multi_domain"];
/// The one with domains in the directory.
pub const MULTI_DOMAIN: &str = "msad_multi_domain";

/// Keys of the driver `ldap`. Trees are distinguished names; filters are those of RFC 4515, with parentheses.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ldap {
    /// `ldap://host:port` or `ldaps://host:port`; several, separated by spaces, are tried in this order.
    pub url: String,
    /// The tree everything lies in; the default of the other trees.
    pub suffix: String,
    /// Distinguished name of the account that searches.
    pub user: String,
    pub password: Secret,
    /// Turns TLS on over `ldap://` before anything is said (StartTLS).
    pub start_tls: bool,
    /// Certificates (PEM) that the server's must come from; those of the system when empty.
    pub ca_certificate: String,
    /// How long one answer may take, seconds.
    pub timeout_secs: u64,
    /// Entries of one page, 100 to 1000.
    pub page_size: i64,
    /// `one` level below the trees, or all of it: `sub`.
    pub query_scope: String,

    pub domain_tree_dn: String,
    pub domain_filter: String,
    pub domain_objectclass: String,
    pub domain_id_attribute: String,
    pub domain_name_attribute: String,
    pub domain_query_scope: String,

    pub user_tree_dn: String,
    pub user_filter: String,
    pub user_objectclass: String,
    pub user_id_attribute: String,
    pub user_name_attribute: String,
    pub user_query_scope: String,
    pub user_enabled_attribute: String,
    pub user_enabled_mask: i64,
    pub user_enabled_default: String,
    pub user_enabled_invert: bool,
    /// Pairs `attribute:field`. The fields `displayname`, `email`, `mobile` are the user's own; others become tags `ext:field`.
    pub user_additional_attribute_mapping: Vec<String>,

    pub group_tree_dn: String,
    pub group_filter: String,
    pub group_objectclass: String,
    pub group_id_attribute: String,
    pub group_name_attribute: String,
    pub group_query_scope: String,
    pub group_member_attribute: String,
    /// Whether members are named by the users' identifying attribute; by distinguished names otherwise.
    pub group_members_are_ids: bool,

    /// New users come disabled, until an administrator enables them.
    pub disable_user_on_import: bool,
    /// Brings over users that are disabled in the directory too, disabled.
    pub sync_disabled_users: bool,
    /// What becomes of users that are gone from the directory: `remove` or `disable`.
    pub vanished_users: String,
    /// Roles that groups of the directory hold in projects.
    pub group_projects: Vec<GroupProject>,
}

/// A line of the mapping of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupProject {
    /// Name of the group in the directory.
    pub group: String,
    /// Name of the project, in the group's domain.
    pub project: String,
    /// Name of the role.
    pub role: String,
}

impl Default for Ldap {
    fn default() -> Ldap {
        let text = String::new;
        Ldap {
            url: text(),
            suffix: text(),
            user: text(),
            password: Secret::default(),
            start_tls: false,
            ca_certificate: text(),
            timeout_secs: 10,
            page_size: 500,
            query_scope: "sub".into(),
            domain_tree_dn: text(),
            domain_filter: text(),
            domain_objectclass: text(),
            domain_id_attribute: text(),
            domain_name_attribute: text(),
            domain_query_scope: text(),
            user_tree_dn: text(),
            user_filter: text(),
            user_objectclass: text(),
            user_id_attribute: text(),
            user_name_attribute: text(),
            user_query_scope: text(),
            user_enabled_attribute: text(),
            user_enabled_mask: 0,
            user_enabled_default: text(),
            user_enabled_invert: false,
            user_additional_attribute_mapping: Vec::new(),
            group_tree_dn: text(),
            group_filter: text(),
            group_objectclass: text(),
            group_id_attribute: text(),
            group_name_attribute: text(),
            group_query_scope: text(),
            group_member_attribute: text(),
            group_members_are_ids: false,
            disable_user_on_import: false,
            sync_disabled_users: false,
            vanished_users: "remove".into(),
            group_projects: Vec::new(),
        }
    }
}

/// What a template presets (spec 02 §10.1).
fn presets(template: &str) -> Json {
    let mut ad = json!({
        "user_objectclass": "organizationalPerson", "user_id_attribute": "sAMAccountName", "user_name_attribute": "sAMAccountName",
        "user_enabled_attribute": "userAccountControl", "user_enabled_mask": 2, "user_enabled_default": "512", "user_enabled_invert": true,
        "user_additional_attribute_mapping": ["displayName:displayname", "telephoneNumber:mobile", "mail:email"],
        // Computers are persons to Active Directory.
        "user_filter": "(!(objectClass=computer))",
        "group_objectclass": "group", "group_id_attribute": "sAMAccountName", "group_name_attribute": "name",
        "group_member_attribute": "member", "group_members_are_ids": false,
    });
    match template {
        "msad_one_domain" => ad,
        MULTI_DOMAIN => {
            for (key, value) in [
                ("domain_objectclass", "organizationalUnit"),
                ("domain_query_scope", "one"),
                ("domain_id_attribute", "objectGUID"),
                ("domain_name_attribute", "name"),
            ] {
                ad[key] = value.into();
            }
            ad
        }
        "openldap_one_domain" => json!({
            "user_objectclass": "person", "user_id_attribute": "uid", "user_name_attribute": "uid",
            "user_enabled_attribute": "nsAccountLock", "user_enabled_default": "FALSE", "user_enabled_invert": true,
            "user_additional_attribute_mapping": ["displayName:displayname", "telephoneNumber:mobile", "mail:email"],
            "group_objectclass": "ipausergroup", "group_id_attribute": "cn", "group_name_attribute": "cn",
            "group_member_attribute": "member", "group_members_are_ids": false,
        }),
        _ => json!({}),
    }
}

/// Keys whose values are sealed in the database and shown only on demand.
pub fn is_sensitive(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "secret", "token", "private_key"].iter().any(|word| key.contains(word))
}

/// Keys of a driver as its struct. What serde says may quote a value, and one of them is a secret: only the place is told.
pub fn read_keys<T: serde::de::DeserializeOwned>(driver: &str, all: &Map) -> Result<T> {
    for key in all.keys() {
        let alone: Map = [(key.clone(), all[key].clone())].into_iter().collect();
        if serde_json::from_value::<T>(Json::Object(alone)).is_err() {
            return Err(err!(InputParameter, "config.{}.{} is no key of this driver, or its value is of another kind", driver, key));
        }
    }
    serde_json::from_value(Json::Object(all.clone()))
        .map_err(|_| err!(InputParameter, "{}: expected {}, got {}", format!("config.{driver}"), "an object", "something else"))
}

impl Ldap {
    /// From what is stored and the presets of the template; says which key is wrong.
    pub fn read(template: &str, stored: &Map) -> Result<Ldap> {
        let mut all = match presets(template) {
            Json::Object(map) => map,
            _ => Map::new(),
        };
        all.extend(stored.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())));
        let config: Ldap = read_keys("ldap", &all)?;
        config.check(template)?;
        Ok(config)
    }

    fn check(&self, template: &str) -> Result<()> {
        let needed = [
            ("url", self.url.as_str()),
            ("suffix", self.suffix.as_str()),
            ("user", self.user.as_str()),
            ("password", self.password.expose()),
            ("user_objectclass", self.user_objectclass.as_str()),
            ("user_id_attribute", self.user_id_attribute.as_str()),
            ("user_name_attribute", self.user_name_attribute.as_str()),
        ];
        if let Some((key, _)) = needed.iter().find(|(_, value)| value.trim().is_empty()) {
            return Err(err!(MissingParameter, "{} is missing", format!("config.ldap.{key}")));
        }
        for url in self.urls() {
            check_url(url)?;
        }
        if self.start_tls && self.urls().any(|url| url.starts_with("ldaps://")) {
            return Err(err!(InputParameter, "config.ldap.start_tls is for ldap:// addresses; ldaps:// is encrypted from the start"));
        }
        for (key, scope) in [
            ("query_scope", &self.query_scope),
            ("domain_query_scope", &self.domain_query_scope),
            ("user_query_scope", &self.user_query_scope),
            ("group_query_scope", &self.group_query_scope),
        ] {
            if !matches!(scope.as_str(), "" | "one" | "sub") {
                return Err(err!(InputParameter, "{}: {} is none of {}", key, scope, "one, sub"));
            }
        }
        if !matches!(self.vanished_users.as_str(), "remove" | "disable") {
            return Err(err!(InputParameter, "{}: {} is none of {}", "vanished_users", self.vanished_users, "remove, disable"));
        }
        if !(100..=1000).contains(&self.page_size) {
            return Err(err!(InputParameter, "{}: {} is not between {} and {}", "page_size", self.page_size, 100, 1000));
        }
        if !(1..=60).contains(&self.timeout_secs) {
            return Err(err!(InputParameter, "{}: {} is not between {} and {}", "timeout_secs", self.timeout_secs, 1, 60));
        }
        for (key, filter) in
            [("domain_filter", &self.domain_filter), ("user_filter", &self.user_filter), ("group_filter", &self.group_filter)]
        {
            if !filter.is_empty() && (!filter.starts_with('(') || ldap3::parse_filter(filter).is_err()) {
                return Err(err!(InputParameter, "config.ldap.{} is no filter of RFC 4515, such as (department=cloud)", key));
            }
        }
        for (key, word) in self.words() {
            if !word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';' | '_')) {
                return Err(err!(InputParameter, "config.ldap.{}: {} is no name of an attribute or class", key, word));
            }
        }
        if let Some(pair) = self
            .user_additional_attribute_mapping
            .iter()
            .find(|p| !matches!(p.split_once(':'), Some((a, b)) if !a.is_empty() && !b.is_empty()))
        {
            return Err(err!(InputParameter, "user_additional_attribute_mapping: {} is no pair attribute:field", pair));
        }
        if template == MULTI_DOMAIN && self.domain_objectclass.is_empty() {
            return Err(err!(MissingParameter, "{} is missing", "config.ldap.domain_objectclass"));
        }
        Ok(())
    }

    /// What is written into filters as it stands.
    fn words(&self) -> [(&'static str, &str); 11] {
        [
            ("domain_objectclass", self.domain_objectclass.as_str()),
            ("domain_id_attribute", self.domain_id_attribute.as_str()),
            ("domain_name_attribute", self.domain_name_attribute.as_str()),
            ("user_objectclass", self.user_objectclass.as_str()),
            ("user_id_attribute", self.user_id_attribute.as_str()),
            ("user_name_attribute", self.user_name_attribute.as_str()),
            ("user_enabled_attribute", self.user_enabled_attribute.as_str()),
            ("group_objectclass", self.group_objectclass.as_str()),
            ("group_id_attribute", self.group_id_attribute.as_str()),
            ("group_name_attribute", self.group_name_attribute.as_str()),
            ("group_member_attribute", self.group_member_attribute.as_str()),
        ]
    }

    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.url.split_whitespace()
    }

    pub fn user_tree(&self) -> &str {
        if self.user_tree_dn.is_empty() { &self.suffix } else { &self.user_tree_dn }
    }
    pub fn group_tree(&self) -> &str {
        if self.group_tree_dn.is_empty() { &self.suffix } else { &self.group_tree_dn }
    }
    pub fn domain_tree(&self) -> &str {
        if self.domain_tree_dn.is_empty() { &self.suffix } else { &self.domain_tree_dn }
    }

    /// Whether a search goes through the whole tree.
    pub fn deep(&self, own: &str) -> bool {
        (if own.is_empty() { &self.query_scope } else { own }) == "sub"
    }

    /// Pairs of the attribute there and the field here.
    pub fn mapping(&self) -> impl Iterator<Item = (&str, &str)> {
        self.user_additional_attribute_mapping.iter().filter_map(|pair| pair.split_once(':'))
    }
}

/// The client library takes a URL without a host for a mistake of the program.
fn check_url(url: &str) -> Result<()> {
    let rest = url.strip_prefix("ldap://").or_else(|| url.strip_prefix("ldaps://"));
    let host =
        rest.map(|r| r.trim_end_matches('/')).filter(|r| !r.is_empty() && !r.starts_with(':') && !r.contains(['/', '?', '#', '@', '%']));
    match host {
        Some(_) => Ok(()),
        None => Err(err!(InputParameter, "config.ldap.url: {} is no address such as ldaps://directory.example.org:636", url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(more: Json) -> Map {
        let mut map = json!({"url": "ldap://d", "suffix": "dc=x", "user": "cn=a", "password": "p"});
        for (k, v) in more.as_object().expect("an object") {
            map[k] = v.clone();
        }
        map.as_object().expect("an object").clone()
    }

    #[test]
    fn templates_preset_and_the_stored_wins() {
        let ad = Ldap::read("msad_one_domain", &stored(json!({"user_id_attribute": "objectGUID"}))).unwrap();
        assert_eq!((ad.user_id_attribute.as_str(), ad.user_enabled_mask, ad.user_enabled_invert), ("objectGUID", 2, true));
        assert_eq!(ad.user_tree(), "dc=x");
        let multi = Ldap::read(MULTI_DOMAIN, &stored(json!({}))).unwrap();
        assert!(!multi.deep(&multi.domain_query_scope) && multi.deep(&multi.user_query_scope));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_value_is_told() {
        for (more, word) in [
            (json!({"pasword": "s3cret"}), "pasword"),
            (json!({"password": 5}), "password"),
            (json!({"password": ""}), "password"),
            (json!({"url": "ldap:"}), "url"),
            (json!({"url": "http://d"}), "url"),
            (json!({"url": "ldap:///"}), "url"),
            (json!({"url": "ldaps://d", "start_tls": true}), "start_tls"),
            (json!({"page_size": 5000}), "page_size"),
            (json!({"user_filter": "(a=b"}), "user_filter"),
            (json!({"user_filter": "a=b"}), "user_filter"),
            (json!({"user_id_attribute": "uid)(x=*"}), "user_id_attribute"),
            (json!({"user_query_scope": "all"}), "user_query_scope"),
            (json!({"vanished_users": "forget"}), "vanished_users"),
            (json!({"user_additional_attribute_mapping": ["mail"]}), "mapping"),
        ] {
            let error = Ldap::read("openldap_one_domain", &stored(more)).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("s3cret"), "{error}");
        }
    }
}
