//! Who the user is: from the environment, a saved profile, or, for root, the all-in-one platform of this machine.

use crate::fail::{Fail, Result};
use serde::{Deserialize, Serialize};
use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// A login, as it lies in a profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// `http://…/v3` of the identity service.
    pub auth_url: String,
    pub user: String,
    pub password: String,
    /// Domain of user and project, by name.
    pub domain: String,
    pub project: String,
    /// Region of the catalogue; empty: the first.
    pub region: String,
    /// Do not check certificates.
    pub insecure: bool,
    /// A token instead of a password; never saved.
    #[serde(skip)]
    pub token: String,
    /// `public`, `internal`, `admin`
    #[serde(skip)]
    pub interface: String,
    /// PEM file of a CA to believe besides the machine's.
    pub ca_file: String,
}

const NOT_LOGGED_IN: &str = "not logged in: set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME (or OS_AUTH_URL and OS_AUTH_TOKEN), \
or save a login with `wolke login`; on the machine of `wolke up`, run the command as the user that started it";

/// Reads variables; taken apart from the process for tests.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Whoever is set up on this machine, most explicit first.
pub fn find(env: Env<'_>) -> Result<Profile> {
    let mut profile = match from_env(env)? {
        Some(profile) => profile,
        None => from_files(env)?,
    };
    if let Some(region) = env("OS_REGION_NAME") {
        profile.region = region;
    }
    profile.insecure |= env("YUNION_INSECURE").is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"));
    if let Some(file) = env("OS_CACERT") {
        profile.ca_file = file;
    }
    let interface = env("OS_ENDPOINT_TYPE").unwrap_or_default();
    let interface = interface.trim_end_matches("URL");
    profile.interface = if interface.is_empty() { "public".into() } else { interface.to_string() };
    Ok(profile)
}

fn from_env(env: Env<'_>) -> Result<Option<Profile>> {
    let Some(auth_url) = env("OS_AUTH_URL") else {
        let stray = ["OS_USERNAME", "OS_PASSWORD", "OS_AUTH_TOKEN"].into_iter().find(|name| env(name).is_some());
        return match stray {
            Some(name) => Err(Fail::usage(format!("{name} is set, but not OS_AUTH_URL, as in http://127.0.0.1:7780/identity/v3"))),
            None => Ok(None),
        };
    };
    let profile = Profile {
        auth_url: auth_url.trim_end_matches('/').to_string(),
        user: env("OS_USERNAME").unwrap_or_default(),
        password: env("OS_PASSWORD").unwrap_or_default(),
        domain: ["OS_PROJECT_DOMAIN", "OS_DOMAIN_NAME", "OS_PROJECT_DOMAIN_NAME", "OS_USER_DOMAIN_NAME"]
            .into_iter()
            .find_map(env)
            .unwrap_or_else(|| "Default".into()),
        project: env("OS_PROJECT_NAME").unwrap_or_default(),
        token: env("OS_AUTH_TOKEN").unwrap_or_default(),
        ..Profile::default()
    };
    if profile.token.is_empty() {
        for (name, value) in [("OS_USERNAME", &profile.user), ("OS_PASSWORD", &profile.password)] {
            if value.is_empty() {
                return Err(Fail::usage(format!("OS_AUTH_URL is set, but not {name}")));
            }
        }
    }
    Ok(Some(profile))
}

fn from_files(env: Env<'_>) -> Result<Profile> {
    let mut places: Vec<PathBuf> = saved(env).into_iter().collect();
    let data = env("WOLKE_DATA").map(PathBuf::from).or_else(|| {
        if rustix::process::geteuid().is_root() {
            Some("/var/lib/wolke".into())
        } else {
            env("HOME").map(|h| Path::new(&h).join(".local/share/wolke"))
        }
    });
    places.extend(data.map(|d| d.join("admin.json")));
    for path in places {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                return serde_json::from_str(&text)
                    .map_err(|e| Fail::usage(format!("{}: {e}; write it anew with `wolke login`", path.display())));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Fail::file(&path.display().to_string(), &e)),
        }
    }
    Err(Fail::usage(NOT_LOGGED_IN))
}

/// Where `wolke login` saves.
pub fn saved(env: Env<'_>) -> Option<PathBuf> {
    if let Some(path) = env("WOLKE_PROFILE") {
        return Some(path.into());
    }
    let config = env("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| env("HOME").map(|h| Path::new(&h).join(".config")))?;
    Some(config.join("wolke/profile.json"))
}

/// Saves a login, readable by its owner only.
pub fn save(path: &Path, profile: &Profile) -> Result<()> {
    let name = path.display().to_string();
    let failed = |e: std::io::Error| Fail::file(&name, &e);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
    file.write_all(serde_json::to_string_pretty(profile)?.as_bytes()).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)
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
    fn the_environment_comes_before_files_and_files_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().to_str().expect("a name");
        let nothing = find(&env(&[("HOME", root), ("WOLKE_DATA", root)])).expect_err("nobody");
        assert!(nothing.to_string().contains("OS_AUTH_URL, OS_USERNAME"), "{nothing}");

        std::fs::write(dir.path().join("admin.json"), r#"{"auth_url":"http://a/v3","user":"sysadmin","password":"p"}"#).expect("written");
        let found = find(&env(&[("HOME", root), ("WOLKE_DATA", root)])).expect("the platform of this machine");
        assert_eq!((found.user.as_str(), found.interface.as_str()), ("sysadmin", "public"));

        let path = saved(&env(&[("HOME", root)])).expect("a place");
        save(&path, &Profile { auth_url: "http://b/v3".into(), user: "ann".into(), ..Profile::default() }).expect("saved");
        assert_eq!(find(&env(&[("HOME", root), ("WOLKE_DATA", root)])).expect("the saved one").user, "ann");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);

        let all = [
            ("HOME", root),
            ("OS_AUTH_URL", "http://c/v3/"),
            ("OS_USERNAME", "bob"),
            ("OS_PASSWORD", "x"),
            ("OS_PROJECT_NAME", "p"),
            ("OS_REGION_NAME", "r1"),
            ("YUNION_INSECURE", "true"),
            ("OS_ENDPOINT_TYPE", "internalURL"),
        ];
        let found = find(&env(&all)).expect("of the environment");
        let expected = Profile {
            auth_url: "http://c/v3".into(),
            user: "bob".into(),
            password: "x".into(),
            domain: "Default".into(),
            project: "p".into(),
            region: "r1".into(),
            insecure: true,
            interface: "internal".into(),
            ..Profile::default()
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn half_a_login_names_what_is_missing() {
        let missing = |pairs: &[(&str, &str)]| find(&env(pairs)).expect_err("half").to_string();
        assert!(missing(&[("OS_AUTH_URL", "http://c/v3"), ("OS_USERNAME", "bob")]).contains("not OS_PASSWORD"));
        assert!(missing(&[("OS_USERNAME", "bob")]).contains("not OS_AUTH_URL"));
    }
}
