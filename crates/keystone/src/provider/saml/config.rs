//! Keys of a SAML identity provider, and its templates (spec 02 §10). Pure.

use crate::provider::config::read_keys;
use base::{Json, Result, err};
use resource::Map;
use serde::Deserialize;
use serde_json::json;

pub const TEMPLATES: [&str; 2] = ["samltest_saml", "azure_ad_saml"];

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Saml {
    /// The provider's metadata, XML; what the next four keys do not say is taken from it.
    pub metadata: String,
    /// The provider's entity id, letter by letter.
    pub entity_id: String,
    /// Where requests go by HTTP-Redirect.
    pub redirect_sso_url: String,
    /// Where requests go by HTTP-POST.
    pub post_sso_url: String,
    /// Certificates the provider signs with, PEM one after the other. While it changes its key, both.
    pub certificates: String,
    /// What this platform is called there; the address of the login when empty.
    pub sp_entity_id: String,
    /// Whether a login may begin at the provider.
    pub allow_idp_init: bool,
    /// Where such a login arrives.
    pub callback_url: String,
    /// How far the clocks may differ, seconds.
    pub clock_skew_secs: i64,
    /// The kind of name to ask for; the provider's choice when empty.
    pub name_id_format: String,
    /// Of the template azure_ad_saml.
    pub tenant_id: String,
}

impl Default for Saml {
    fn default() -> Saml {
        Saml {
            metadata: String::new(),
            entity_id: String::new(),
            redirect_sso_url: String::new(),
            post_sso_url: String::new(),
            certificates: String::new(),
            sp_entity_id: String::new(),
            allow_idp_init: false,
            callback_url: String::new(),
            clock_skew_secs: 60,
            name_id_format: String::new(),
            tenant_id: String::new(),
        }
    }
}

/// What a template presets, of the driver and of the mapping.
pub fn presets(template: &str) -> Json {
    match template {
        "samltest_saml" => json!({
            "entity_id": "https://samltest.id/saml/idp",
            "redirect_sso_url": "https://samltest.id/idp/profile/SAML2/Redirect/SSO",
            "user_id_attribute": "urn:oid:0.9.2342.19200300.100.1.1",
            "user_name_attribute": "urn:oid:0.9.2342.19200300.100.1.1",
            "user_displayname_attribute": "urn:oid:2.16.840.1.113730.3.1.241",
            "user_email_attribute": "urn:oid:0.9.2342.19200300.100.1.3",
            "user_mobile_attribute": "urn:oid:2.5.4.20",
        }),
        "azure_ad_saml" => json!({
            "user_id_attribute": "http://schemas.microsoft.com/identity/claims/objectidentifier",
            "user_name_attribute": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
            "user_displayname_attribute": "http://schemas.microsoft.com/identity/claims/displayname",
            "user_email_attribute": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
            "groups_attribute": "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups",
        }),
        _ => json!({}),
    }
}

impl Saml {
    /// From the keys of a configuration; says which one is wrong.
    pub fn read(template: &str, keys: &Map) -> Result<Saml> {
        let mut config: Saml = read_keys("saml", keys)?;
        if template == "azure_ad_saml" && !config.tenant_id.is_empty() {
            let tenant = http::path::encode(&config.tenant_id);
            for (key, value) in [
                (&mut config.entity_id, format!("https://sts.windows.net/{tenant}/")),
                (&mut config.redirect_sso_url, format!("https://login.microsoftonline.com/{tenant}/saml2")),
                (&mut config.post_sso_url, format!("https://login.microsoftonline.com/{tenant}/saml2")),
            ] {
                if key.is_empty() {
                    *key = value;
                }
            }
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        if self.metadata.trim().is_empty() {
            for (key, value) in [("entity_id", &self.entity_id), ("certificates", &self.certificates)] {
                if value.trim().is_empty() {
                    return Err(err!(MissingParameter, "config.saml.{} is missing; the provider's metadata would say it too", key));
                }
            }
        }
        for (key, url) in
            [("redirect_sso_url", &self.redirect_sso_url), ("post_sso_url", &self.post_sso_url), ("callback_url", &self.callback_url)]
        {
            if !url.is_empty() && !url.starts_with("https://") && !url.starts_with("http://") {
                return Err(err!(InputParameter, "config.saml.{}: {} is no address such as https://login.example.org/sso", key, url));
            }
        }
        if self.allow_idp_init && self.callback_url.is_empty() {
            return Err(err!(MissingParameter, "{} is missing", "config.saml.callback_url"));
        }
        if !(0..=300).contains(&self.clock_skew_secs) {
            return Err(err!(InputParameter, "{}: {} is not between {} and {}", "clock_skew_secs", self.clock_skew_secs, 0, 300));
        }
        Ok(())
    }

    /// What this platform is called at the provider.
    pub fn own_entity_id<'a>(&'a self, acs_url: &'a str) -> &'a str {
        if self.sp_entity_id.is_empty() { acs_url } else { &self.sp_entity_id }
    }

    /// The certificates, one by one.
    pub fn certificates(&self) -> Vec<String> {
        const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
        if !self.certificates.contains(BEGIN) {
            return self.certificates.split_whitespace().map(str::to_string).collect();
        }
        let blocks = self.certificates.split(BEGIN).skip(1);
        blocks.map(|block| block.split("-----END").next().unwrap_or_default().split_whitespace().collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(more: Json) -> Map {
        let mut map = json!({"entity_id": "i", "certificates": "AAAA", "redirect_sso_url": "https://i/sso"});
        for (k, v) in more.as_object().expect("an object") {
            map[k] = v.clone();
        }
        map.as_object().expect("an object").clone()
    }

    #[test]
    fn certificates_one_by_one() {
        let of = |text: &str| Saml { certificates: text.into(), ..Saml::default() }.certificates();
        let pem = "x\n-----BEGIN CERTIFICATE-----\nAA\nBB\n-----END CERTIFICATE-----\n";
        assert_eq!(of(&pem.repeat(2)), ["AABB", "AABB"]);
        assert_eq!(of(" AABB\nCC "), ["AABB", "CC"]);
        assert!(of("").is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(Saml::read("", &keys(json!({}))).unwrap().clock_skew_secs, 60);
        for (more, word) in [
            (json!({"entity": "x"}), "config.saml.entity "),
            (json!({"clock_skew_secs": "1"}), "clock_skew_secs"),
            (json!({"clock_skew_secs": 900}), "clock_skew_secs"),
            (json!({"entity_id": ""}), "entity_id"),
            (json!({"certificates": " "}), "certificates"),
            (json!({"redirect_sso_url": "javascript:alert(1)"}), "redirect_sso_url"),
            (json!({"allow_idp_init": true}), "callback_url"),
        ] {
            let error = Saml::read("", &keys(more)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_tenant_of_azure_has_addresses() {
        let azure = Saml::read("azure_ad_saml", &keys(json!({"tenant_id": "t/1", "entity_id": "", "redirect_sso_url": ""})));
        // The stored empty text gives way to what the tenant says.
        assert_eq!(azure.unwrap().redirect_sso_url, "https://login.microsoftonline.com/t%2F1/saml2");
    }
}
