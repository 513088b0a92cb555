//! Who the user is: of the command line, the environment, a saved profile, or, for root, the all-in-one platform of this machine.

use crate::{
    fail::{Fail, Result},
    profile::{self, AccessKey, Credential, Profile, Saved, Store},
};
use std::path::{Path, PathBuf};

const NOT_LOGGED_IN: &str = "not logged in: run `wolke login`, or set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME \
(or OS_AUTH_URL and OS_AUTH_TOKEN); on the machine of `wolke up`, run the command as the user that started it";

/// Reads variables; taken apart from the process for tests.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// A login, and the profile it comes from if it is one.
#[derive(Debug, PartialEq)]
pub struct Found {
    pub profile: Profile,
    pub saved: Option<Saved>,
}

/// Whoever is set up on this machine, most explicit first. `chosen` is the profile of the command line.
pub fn find(env: Env<'_>, chosen: Option<&str>) -> Result<Found> {
    let mut found = pick(env, chosen)?;
    let profile = &mut found.profile;
    if let Some(region) = env("OS_REGION_NAME") {
        profile.region = region;
    }
    profile.insecure |= env("YUNION_INSECURE").is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"));
    if let Some(file) = env("OS_CACERT") {
        profile.ca_file = file;
    }
    profile.passcode = env("OS_PASSCODE").unwrap_or_default();
    let interface = env("OS_ENDPOINT_TYPE").unwrap_or_default();
    let interface = interface.trim_end_matches("URL");
    profile.interface = if interface.is_empty() { "public".into() } else { interface.to_string() };
    Ok(found)
}

fn pick(env: Env<'_>, chosen: Option<&str>) -> Result<Found> {
    if let Some(name) = chosen {
        let (saved, profile) = profile::known(env, name)?;
        return opened(saved, profile);
    }
    if let Some(profile) = from_env(env)? {
        return Ok(Found { profile, saved: None });
    }
    if let Some(name) = env("WOLKE_PROFILE") {
        let (saved, profile) = profile::known(env, &name)?;
        return opened(saved, profile);
    }
    let mut ended = None;
    if let Ok(store) = Store::of(env) {
        let saved = store.saved(&store.current()?)?;
        if let Some(profile) = saved.load()? {
            if profile.opens() {
                return Ok(Found { profile, saved: Some(saved) });
            }
            ended = Some(saved);
        }
    }
    if let Some(path) = platform(env)
        && let Some(profile) = profile::read(&path)?
    {
        return Ok(Found { profile, saved: None });
    }
    Err(ended.map_or_else(|| Fail::usage(NOT_LOGGED_IN), |saved| logged_out(&saved)))
}

fn opened(saved: Saved, profile: Profile) -> Result<Found> {
    if profile.opens() { Ok(Found { profile, saved: Some(saved) }) } else { Err(logged_out(&saved)) }
}

fn logged_out(saved: &Saved) -> Fail {
    Fail::usage(format!("the profile {} is logged out; log in with `{}`", saved.name, saved.remedy()))
}

/// What the platform of this machine wrote for its administrator.
fn platform(env: Env<'_>) -> Option<PathBuf> {
    let data = env("WOLKE_DATA").map(PathBuf::from).or_else(|| {
        if rustix::process::geteuid().is_root() {
            Some("/var/lib/wolke".into())
        } else {
            env("HOME").map(|h| Path::new(&h).join(".local/share/wolke"))
        }
    });
    data.map(|d| d.join("admin.json"))
}

fn from_env(env: Env<'_>) -> Result<Option<Profile>> {
    let Some(auth_url) = env("OS_AUTH_URL") else {
        let stray = ["OS_USERNAME", "OS_PASSWORD", "OS_AUTH_TOKEN", "OS_ACCESS_KEY", "OS_APPLICATION_CREDENTIAL_ID"];
        return match stray.into_iter().find(|name| env(name).is_some()) {
            Some(name) => Err(Fail::usage(format!("{name} is set, but not OS_AUTH_URL, as in http://127.0.0.1:7780/identity/v3"))),
            None => Ok(None),
        };
    };
    let first = |names: &[&str]| names.iter().find_map(|n| env(n));
    let mut profile = Profile {
        auth_url: auth_url.trim_end_matches('/').to_string(),
        user: env("OS_USERNAME").unwrap_or_default(),
        password: env("OS_PASSWORD").unwrap_or_default(),
        // The other client's word for the user's domain is OS_DOMAIN_NAME, OpenStack's OS_USER_DOMAIN_NAME.
        domain: first(&["OS_DOMAIN_NAME", "OS_USER_DOMAIN_NAME", "OS_PROJECT_DOMAIN", "OS_PROJECT_DOMAIN_NAME"])
            .unwrap_or_else(|| "Default".into()),
        project_domain: first(&["OS_PROJECT_DOMAIN", "OS_PROJECT_DOMAIN_NAME"]).unwrap_or_default(),
        project: env("OS_PROJECT_NAME").unwrap_or_default(),
        token: env("OS_AUTH_TOKEN").or_else(|| env("OS_TOKEN")).unwrap_or_default(),
        ..Profile::default()
    };
    if !profile.token.is_empty() {
        return Ok(Some(profile));
    }
    let pair = |name: &str, secret: &str| match (env(name), env(secret)) {
        (Some(name), Some(secret)) => Ok(Some((name, secret))),
        (Some(_), None) => Err(Fail::usage(format!("{name} is set, but not {secret}"))),
        _ => Ok(None),
    };
    if let Some((id, secret)) = pair("OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_SECRET")? {
        profile.credential = Some(Credential { id, secret, ..Credential::default() });
    } else if let Some((name, secret)) = pair("OS_APPLICATION_CREDENTIAL_NAME", "OS_APPLICATION_CREDENTIAL_SECRET")? {
        profile.credential = Some(Credential { name, secret, ..Credential::default() });
    } else if let Some((key, secret)) = pair("OS_ACCESS_KEY", "OS_SECRET_KEY")? {
        profile.access_key = Some(AccessKey { key, secret });
    } else {
        for (name, value) in [("OS_USERNAME", &profile.user), ("OS_PASSWORD", &profile.password)] {
            if value.is_empty() {
                return Err(Fail::usage(format!("OS_AUTH_URL is set, but not {name}")));
            }
        }
    }
    Ok(Some(profile))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn env(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<> {
        let map: HashMap<String, String> = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        move |name| map.get(name).cloned()
    }

    #[test]
    fn the_most_explicit_login_is_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().to_str().expect("a name");
        let here = [("HOME", root), ("WOLKE_DATA", root)];
        let nothing = find(&env(&here), None).expect_err("nobody");
        assert!(nothing.to_string().contains("`wolke login`"), "{nothing}");

        std::fs::write(dir.path().join("admin.json"), r#"{"auth_url":"http://a/v3","user":"sysadmin","password":"p"}"#).expect("written");
        let found = find(&env(&here), None).expect("the platform of this machine");
        assert_eq!((found.profile.user.as_str(), found.profile.interface.as_str(), found.saved), ("sysadmin", "public", None));

        let store = Store::of(&env(&here)).expect("a home");
        let mut ann = Profile { auth_url: "http://b/v3".into(), user: "ann".into(), token: "t".into(), ..Profile::default() };
        store.saved("default").expect("a name").save(&ann).expect("saved");
        let bob = Profile { user: "bob".into(), ..ann.clone() };
        store.saved("lab").expect("a name").save(&bob).expect("saved");
        let user = |env: Env<'_>, chosen| find(env, chosen).expect("somebody").profile.user;
        assert_eq!(user(&env(&here), None), "ann");
        let lab = [here[0], here[1], ("WOLKE_PROFILE", "lab")];
        assert_eq!(user(&env(&lab), None), "bob");
        assert_eq!(user(&env(&lab), Some("default")), "ann");
        store.choose("lab").expect("chosen");
        assert_eq!(user(&env(&here), None), "bob");
        store.choose("default").expect("chosen");

        let all = [
            here[0],
            here[1],
            ("WOLKE_PROFILE", "lab"),
            ("OS_AUTH_URL", "http://c/v3/"),
            ("OS_USERNAME", "eve"),
            ("OS_PASSWORD", "x"),
            ("OS_PROJECT_NAME", "p"),
            ("OS_PROJECT_DOMAIN", "acme"),
            ("OS_REGION_NAME", "r1"),
            ("OS_PASSCODE", "123456"),
            ("YUNION_INSECURE", "true"),
            ("OS_ENDPOINT_TYPE", "internalURL"),
        ];
        let expected = Profile {
            auth_url: "http://c/v3".into(),
            user: "eve".into(),
            password: "x".into(),
            domain: "acme".into(),
            project_domain: "acme".into(),
            project: "p".into(),
            region: "r1".into(),
            insecure: true,
            interface: "internal".into(),
            passcode: "123456".into(),
            ..Profile::default()
        };
        assert_eq!(find(&env(&all), None).expect("of the environment"), Found { profile: expected, saved: None });
        assert_eq!(user(&env(&all), Some("lab")), "bob", "what is typed comes before the environment");

        // Logged out: whoever else is set up here, and if nobody is, the way back in.
        ann.close();
        store.saved("default").expect("a name").save(&ann).expect("saved");
        assert_eq!(user(&env(&here), None), "sysadmin");
        let out = find(&env(&here[..1]), None).expect_err("nobody").to_string();
        assert!(out.contains("logged out; log in with `wolke login`"), "{out}");
    }

    #[test]
    fn keys_and_credentials_come_from_the_environment() {
        let found = |pairs: &[(&str, &str)]| find(&env(&[&[("OS_AUTH_URL", "http://c/v3")], pairs].concat()), None);
        let key = found(&[("OS_ACCESS_KEY", "k"), ("OS_SECRET_KEY", "s")]).expect("a key").profile;
        assert_eq!(key.access_key, Some(AccessKey { key: "k".into(), secret: "s".into() }));
        let credential = found(&[("OS_APPLICATION_CREDENTIAL_ID", "i"), ("OS_APPLICATION_CREDENTIAL_SECRET", "s")]).expect("one").profile;
        assert_eq!(credential.credential, Some(Credential { id: "i".into(), secret: "s".into(), ..Credential::default() }));
        assert!(found(&[("OS_ACCESS_KEY", "k")]).expect_err("half").to_string().contains("not OS_SECRET_KEY"));
    }

    #[test]
    fn half_a_login_names_what_is_missing() {
        let missing = |pairs: &[(&str, &str)]| find(&env(pairs), None).expect_err("half").to_string();
        assert!(missing(&[("OS_AUTH_URL", "http://c/v3"), ("OS_USERNAME", "bob")]).contains("not OS_PASSWORD"));
        assert!(missing(&[("OS_USERNAME", "bob")]).contains("not OS_AUTH_URL"));
    }
}
