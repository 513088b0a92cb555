//! Saved logins: a file each, in a directory nobody else can look into.
//!
//! What lies there is who one is and a token, or an application credential that gets tokens; never a password that was typed. Only
//! `admin.json` of a platform's data directory, which is read in the same form, has one.

use crate::fail::{Fail, Result};
use crate::login::Env;
use serde::{Deserialize, Serialize};
use std::{
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Of [`Profile::sso`]: logged in by a browser of the same machine.
pub const BROWSER: &str = "browser";
/// Of [`Profile::sso`]: logged in by a browser elsewhere, with a code.
pub const DEVICE: &str = "device";

/// A login.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// `http://…/v3` of the identity service.
    pub auth_url: String,
    pub user: String,
    /// Of `admin.json` and of the environment; empty in what `wolke login` saves.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// Domain of the user, by name.
    pub domain: String,
    pub project: String,
    /// Domain of the project, by name; empty: that of the user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub project_domain: String,
    /// Region of the catalogue; empty: the first.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Do not check certificates.
    #[serde(skip_serializing_if = "is_false")]
    pub insecure: bool,
    /// PEM file of a CA to believe besides the machine's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca_file: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// When the token ends, UTC as the service wrote it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expires_at: String,
    /// Gets a new token when the old one ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// [`BROWSER`] or [`DEVICE`]; empty: by password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sso: String,
    /// `public`, `internal`, `admin`
    #[serde(skip)]
    pub interface: String,
    /// Of the environment only.
    #[serde(skip)]
    pub access_key: Option<AccessKey>,
    /// A one-time password, for the one login of this process.
    #[serde(skip)]
    pub passcode: String,
}

/// An application credential.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Credential {
    /// Empty when it is given by name, which is looked for among those of the profile's user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub secret: String,
    /// Made by `wolke login --keep` for this profile, and deleted by its logout.
    #[serde(skip_serializing_if = "is_false")]
    pub own: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AccessKey {
    pub key: String,
    pub secret: String,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Profile {
    /// Whether there is anything to get in with, without asking.
    pub fn opens(&self) -> bool {
        !self.token.is_empty() || !self.password.is_empty() || self.credential.is_some() || self.access_key.is_some()
    }

    /// Forgets every secret, and stays for the next login.
    pub fn close(&mut self) {
        self.token.clear();
        self.expires_at.clear();
        self.password.clear();
        self.credential = None;
    }
}

/// A profile with the file it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    pub name: String,
    pub path: PathBuf,
}

impl Saved {
    /// What a person types to log in to it again.
    pub fn remedy(&self) -> String {
        if self.name == DEFAULT { "wolke login".into() } else { format!("wolke login --profile {}", self.name) }
    }

    pub fn load(&self) -> Result<Option<Profile>> {
        read(&self.path)
    }

    /// Writes it, readable by its owner only; whoever reads meanwhile sees the old one or the new one.
    pub fn save(&self, profile: &Profile) -> Result<()> {
        write(&self.path, (serde_json::to_string_pretty(profile)? + "\n").as_bytes())
    }
}

/// The profile when none is named.
pub const DEFAULT: &str = "default";

/// `~/.config/wolke`.
pub struct Store {
    dir: PathBuf,
}

impl Store {
    pub fn of(env: Env<'_>) -> Result<Store> {
        let config = env("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| env("HOME").map(|h| Path::new(&h).join(".config")));
        let config =
            config.ok_or_else(|| Fail::usage("there is no place for profiles: set HOME, or WOLKE_PROFILE to the path of a file"))?;
        Ok(Store { dir: config.join("wolke") })
    }

    /// The file of a profile, whether or not it is there.
    pub fn saved(&self, name: &str) -> Result<Saved> {
        let fine = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(fine) {
            return Err(Fail::usage(format!(
                "{name:?} is no name for a profile: use letters, digits, dots, dashes and @, at most 64 bytes"
            )));
        }
        Ok(Saved { name: name.to_string(), path: self.dir.join("profiles").join(format!("{name}.json")) })
    }

    pub fn names(&self) -> Result<Vec<String>> {
        let dir = self.dir.join("profiles");
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Fail::file(&dir.display().to_string(), &e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Fail::file(&dir.display().to_string(), &e))?;
            names.extend(entry.file_name().to_str().and_then(|n| n.strip_suffix(".json")).map(str::to_string));
        }
        names.sort();
        Ok(names)
    }

    /// The name of the one in use.
    pub fn current(&self) -> Result<String> {
        let path = self.dir.join("current");
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_string()),
            Ok(_) => Ok(DEFAULT.into()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(DEFAULT.into()),
            Err(e) => Err(Fail::file(&path.display().to_string(), &e)),
        }
    }

    pub fn choose(&self, name: &str) -> Result<()> {
        write(&self.dir.join("current"), format!("{name}\n").as_bytes())
    }

    /// One that must be there.
    pub fn known(&self, name: &str) -> Result<(Saved, Profile)> {
        let saved = self.saved(name)?;
        if let Some(profile) = saved.load()? {
            return Ok((saved, profile));
        }
        let names = self.names()?;
        let there = if names.is_empty() { "there are none yet".to_string() } else { format!("there are: {}", names.join(", ")) };
        Err(Fail::usage(format!("there is no profile {name} ({there}); make it with `{}`", saved.remedy())))
    }

    pub fn delete(&self, name: &str) -> Result<()> {
        let (saved, _) = self.known(name)?;
        std::fs::remove_file(&saved.path).map_err(|e| Fail::file(&saved.path.display().to_string(), &e))?;
        if self.current()? == name {
            let _none = std::fs::remove_file(self.dir.join("current"));
        }
        Ok(())
    }
}

/// The file of a profile, by its name or, with a slash in it, its path.
pub fn saved(env: Env<'_>, name: &str) -> Result<Saved> {
    if name.contains('/') { Ok(Saved { name: name.to_string(), path: name.into() }) } else { Store::of(env)?.saved(name) }
}

/// One that must be there, by its name or path.
pub fn known(env: Env<'_>, name: &str) -> Result<(Saved, Profile)> {
    if !name.contains('/') {
        return Store::of(env)?.known(name);
    }
    let saved = saved(env, name)?;
    let profile = saved.load()?.ok_or_else(|| Fail::usage(format!("there is no profile {name}; make it with `{}`", saved.remedy())))?;
    Ok((saved, profile))
}

/// A profile's file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<Profile>> {
    let name = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Fail::file(&name.to_string(), &e)),
    };
    let open = std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 != 0);
    if open {
        eprintln!("wolke: {name} is open to others than its owner; close it with `chmod 600 {name}`");
    }
    serde_json::from_str(&text).map(Some).map_err(|e| Fail::usage(format!("{name}: {e}; write it anew with `wolke login`")))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.display().to_string();
    let failed = |e: std::io::Error| Fail::file(&name, &e);
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    // Two commands that renew a token at once do not write into each other's file.
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn profiles_are_their_owners_only() {
        let home = tempfile::tempdir().expect("a directory");
        let root = home.path().to_str().expect("a name").to_string();
        let store = Store::of(&move |name| (name == "HOME").then(|| root.clone())).expect("a home");
        assert_eq!((store.names().expect("none"), store.current().expect("one")), (vec![], DEFAULT.to_string()));
        let missing = store.known("lab").expect_err("not there").to_string();
        assert!(missing.contains("there are none yet") && missing.contains("`wolke login --profile lab`"), "{missing}");

        let saved = store.saved("lab").expect("a name");
        let profile = Profile { user: "ann".into(), token: "t".into(), ..Profile::default() };
        saved.save(&profile).expect("saved");
        assert_eq!((mode(&saved.path), mode(saved.path.parent().expect("a directory"))), (0o600, 0o700));
        assert_eq!(mode(&store.dir), 0o700);
        assert_eq!(store.known("lab").expect("it is there").1, profile);
        assert!(!std::fs::read_to_string(&saved.path).expect("text").contains("password"));

        store.choose("lab").expect("chosen");
        assert_eq!((store.names().expect("one"), store.current().expect("chosen")), (vec!["lab".to_string()], "lab".to_string()));
        store.delete("lab").expect("deleted");
        assert_eq!(store.current().expect("the usual one"), DEFAULT);
        for bad in ["", ".hidden", "a b", "x\n"] {
            assert!(store.saved(bad).is_err(), "{bad:?}");
        }
        assert_eq!(super::saved(&|_| None, "/etc/x.json").expect("a path").path, Path::new("/etc/x.json"));
    }
}
