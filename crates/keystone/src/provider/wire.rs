//! The connection to a directory (RFC 4511): binding and paged searching, each within its time. Knows nothing of users.
//!
//! Referrals are not followed: they would lead the service's account and its password to servers nobody configured.

use super::config::Ldap as Config;
use api_identity::Secret;
use base::{Error, Result, err};
use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, SearchEntry, ldap_escape};
use std::{collections::HashMap, time::Duration};
use tokio::time::timeout;

/// A connection. Ends when dropped.
pub struct Directory {
    ldap: Ldap,
    url: String,
    patience: Duration,
    page: i32,
}

/// How a directory took a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    Right,
    Wrong,
    /// The password may be right, and the account cannot be used: why.
    Closed(Closed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    Disabled,
    Expired,
    PasswordExpired,
    Locked,
    /// For a reason of the directory's own.
    Other,
}

/// How far a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    Base,
    One,
    Sub,
}

/// One object: its name and the attributes that were asked for, under their names in lower case.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub dn: String,
    pub attributes: HashMap<String, Vec<Vec<u8>>>,
}

/// A search as a whole may take so many times as long as one answer.
const LONG: u32 = 60;
/// Attributes that are bytes, whatever they happen to look like.
const BINARY: [&str; 2] = ["objectguid", "objectsid"];

impl Entry {
    fn values(&self, attribute: &str) -> &[Vec<u8>] {
        self.attributes.get(&attribute.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// The first value that is text.
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.texts(attribute).next()
    }

    /// All values that are text, without spaces around them, the empty ones left out.
    pub fn texts(&self, attribute: &str) -> impl Iterator<Item = &str> {
        self.values(attribute).iter().filter_map(|v| std::str::from_utf8(v).ok()).map(str::trim).filter(|v| !v.is_empty())
    }

    /// The first value as an identifier: bytes become hex digits.
    pub fn identifier(&self, attribute: &str) -> Option<String> {
        if BINARY.contains(&attribute.to_ascii_lowercase().as_str()) {
            return self.values(attribute).first().filter(|v| !v.is_empty()).map(hex::encode);
        }
        self.text(attribute).map(str::to_string)
    }
}

/// A condition of a filter that an attribute has a value, whatever the value is made of (RFC 4515 §3).
pub fn equals(attribute: &str, value: &str) -> String {
    if BINARY.contains(&attribute.to_ascii_lowercase().as_str())
        && let Ok(bytes) = hex::decode(value)
    {
        let escaped: String = bytes.iter().map(|b| format!("\\{b:02x}")).collect();
        return format!("({attribute}={escaped})");
    }
    format!("({attribute}={})", ldap_escape(value))
}

impl Directory {
    /// Connects and binds with the account of the configuration.
    pub async fn enter(config: &Config) -> Result<Directory> {
        let mut directory = Directory::open(config).await?;
        match directory.bind(&config.user, &config.password).await? {
            Bound::Right => Ok(directory),
            _ => Err(err!(
                InputParameter,
                "the directory {} refuses the account {}; check user and password of the provider",
                directory.url,
                config.user
            )),
        }
    }

    /// Connects to the first server that answers.
    pub async fn open(config: &Config) -> Result<Directory> {
        let mut last = None;
        for url in config.urls() {
            match connect(config, url).await {
                Ok(directory) => return Ok(directory),
                Err(e) => {
                    tracing::info!(url, error = %e, cause = e.context(), "directory server not reached");
                    last = Some(e);
                }
            }
        }
        Err(last.unwrap_or_else(|| err!(MissingParameter, "{} is missing", "config.ldap.url")))
    }

    /// Shows a password. An empty one never binds: directories take it for a guest's and say yes (RFC 4513 §5.1.2).
    pub async fn bind(&mut self, dn: &str, password: &Secret) -> Result<Bound> {
        if dn.is_empty() || password.is_empty() {
            return Ok(Bound::Wrong);
        }
        let answer = timeout(self.patience, self.ldap.simple_bind(dn, password.expose())).await;
        let answer = answer.map_err(|_| late(&self.url))?.map_err(|e| broken(&self.url, e))?;
        match answer.rc {
            0 => Ok(Bound::Right),
            49 => Ok(why(&answer.text)),
            // Constraint violation and unwilling to perform: how servers with password policies speak of locked accounts.
            19 | 53 => Ok(Bound::Closed(Closed::Other)),
            // No such object, invalid DN, inappropriate authentication: nothing that has this password.
            32 | 34 | 48 => Ok(Bound::Wrong),
            rc => Err(err!(BadGateway, "the directory {} cannot check passwords now (result {})", self.url, rc).with_context(answer.text)),
        }
    }

    /// Everything that meets the filter, or an error: never a part of it.
    pub async fn search(&mut self, base: &str, depth: Depth, filter: &str, attributes: &[String]) -> Result<Vec<Entry>> {
        let whole = self.patience.saturating_mul(LONG);
        match timeout(whole, self.pages(base, depth, filter, attributes)).await {
            Ok(found) => found,
            Err(_) => Err(late(&self.url)),
        }
    }

    async fn pages(&mut self, base: &str, depth: Depth, filter: &str, attributes: &[String]) -> Result<Vec<Entry>> {
        let scope = match depth {
            Depth::Base => ldap3::Scope::Base,
            Depth::One => ldap3::Scope::OneLevel,
            Depth::Sub => ldap3::Scope::Subtree,
        };
        let mut adapters: Vec<Box<dyn Adapter<'_, String, Vec<String>>>> = vec![Box::new(EntriesOnly::new())];
        if depth != Depth::Base {
            adapters.push(Box::new(PagedResults::new(self.page)));
        }
        let url = self.url.clone();
        self.ldap.with_timeout(self.patience);
        let stream = self.ldap.streaming_search_with(adapters, base, scope, filter, attributes.to_vec()).await;
        let mut stream = stream.map_err(|e| refused(&url, base, e))?;
        let mut found = Vec::new();
        loop {
            match stream.next().await {
                Ok(Some(entry)) => found.push(plain(SearchEntry::construct(entry))),
                Ok(None) => break,
                Err(e) => return Err(refused(&url, base, e)),
            }
        }
        stream.finish().await.success().map_err(|e| refused(&url, base, e))?;
        Ok(found)
    }

    /// Attributes with a great many values come in slices, as `member;range=0-1499`: fetches the rest.
    pub async fn complete(&mut self, entry: &mut Entry, attribute: &str) -> Result<()> {
        let attribute = attribute.to_ascii_lowercase();
        while let Some((key, next)) = slice(entry, &attribute) {
            let values = entry.attributes.remove(&key).unwrap_or_default();
            entry.attributes.entry(attribute.clone()).or_default().extend(values);
            let Some(from) = next else { break };
            let asked = [format!("{attribute};range={from}-*")];
            let more = self.search(&entry.dn, Depth::Base, "(objectClass=*)", &asked).await?;
            for (key, values) in more.into_iter().flat_map(|e| e.attributes) {
                entry.attributes.insert(key, values);
            }
            if slice(entry, &attribute).is_none_or(|(_, again)| again.is_some_and(|n| n <= from)) {
                return Err(err!(BadGateway, "the directory {} does not give all members of {}", self.url, entry.dn));
            }
        }
        Ok(())
    }

    /// Says good-bye.
    pub async fn leave(mut self) {
        let _ = timeout(self.patience, self.ldap.unbind()).await;
    }
}

/// The key of a slice of an attribute, and where the next one begins.
fn slice(entry: &Entry, attribute: &str) -> Option<(String, Option<u64>)> {
    let key = entry.attributes.keys().find(|k| k.strip_prefix(attribute).is_some_and(|rest| rest.starts_with(";range=")))?;
    let last = key.rsplit_once('-').map(|(_, last)| last)?;
    Some((key.clone(), last.parse::<u64>().ok().map(|n| n + 1)))
}

async fn connect(config: &Config, url: &str) -> Result<Directory> {
    let patience = Duration::from_secs(config.timeout_secs);
    let mut settings = LdapConnSettings::new().set_conn_timeout(patience).set_starttls(config.start_tls);
    if !config.ca_certificate.trim().is_empty() {
        let wrong = |e: Error| err!(InputParameter, "config.ldap.ca_certificate holds no certificate in PEM form").with_context(e);
        settings = settings.set_config(http::trusting(&config.ca_certificate).map_err(wrong)?);
    }
    let (connection, ldap) = match timeout(patience, LdapConnAsync::with_settings(settings, url)).await {
        Ok(done) => done.map_err(|e| broken(url, e))?,
        Err(_) => return Err(late(url)),
    };
    let told = url.to_string();
    tokio::spawn(async move {
        if let Err(e) = connection.drive().await {
            tracing::debug!(url = told, error = %e, "connection to a directory ended");
        }
    });
    Ok(Directory { ldap, url: url.to_string(), patience, page: config.page_size.clamp(100, 1000) as i32 })
}

/// Why a bind failed, in the words of Active Directory; others do not say.
fn why(text: &str) -> Bound {
    let code = text.split("data ").nth(1).map(|rest| rest.chars().take_while(char::is_ascii_hexdigit).collect::<String>());
    Bound::Closed(match code.as_deref() {
        Some("533") => Closed::Disabled,
        Some("701") => Closed::Expired,
        Some("532" | "773") => Closed::PasswordExpired,
        Some("775") => Closed::Locked,
        _ => return Bound::Wrong,
    })
}

fn plain(entry: SearchEntry) -> Entry {
    let mut attributes: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for (name, values) in entry.attrs {
        attributes.entry(name.to_ascii_lowercase()).or_default().extend(values.into_iter().map(String::into_bytes));
    }
    for (name, values) in entry.bin_attrs {
        attributes.entry(name.to_ascii_lowercase()).or_default().extend(values);
    }
    Entry { dn: entry.dn, attributes }
}

fn late(url: &str) -> Error {
    err!(Timeout, "the directory {} does not answer in time", url)
}

fn broken(url: &str, e: LdapError) -> Error {
    let secure = match &e {
        LdapError::Rustls { .. } | LdapError::DNSName { .. } => true,
        LdapError::Io { source } => http::is_tls_failure(source),
        LdapError::Timeout { .. } => return late(url),
        _ => false,
    };
    if secure {
        return err!(
            BadGateway,
            "no secure connection to the directory {}: its certificate must name this host and come from the configured authority",
            url
        )
        .with_context(e);
    }
    err!(BadGateway, "the directory {} cannot be reached", url).with_context(e)
}

fn refused(url: &str, base: &str, e: LdapError) -> Error {
    match &e {
        LdapError::LdapResult { result } if result.rc == 32 => {
            err!(InputParameter, "the directory {} has nothing at {}; check the trees of the provider", url, base).with_context(&e)
        }
        LdapError::LdapResult { result } => {
            err!(BadGateway, "the directory {} does not answer a search below {} (result {})", url, base, result.rc).with_context(&e)
        }
        _ => broken(url, e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_place_in_a_filter() {
        for nasty in ["*", "a)(uid=*", "a\\2a", "a\0b", "*)(|(objectClass=*"] {
            let filter = equals("uid", nasty);
            let inner = &filter[5..filter.len() - 1];
            assert!(filter.starts_with("(uid=") && !inner.contains(['*', '(', ')', '\0']), "{filter}");
            assert!(ldap3::parse_filter(&filter).is_ok(), "{filter}");
        }
        assert_eq!(equals("objectGUID", "00ff"), "(objectGUID=\\00\\ff)");
    }

    #[test]
    fn reasons_of_active_directory() {
        let text = |code: &str| format!("80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data {code}, v3839");
        assert_eq!(why(&text("52e")), Bound::Wrong);
        assert_eq!(why(&text("533")), Bound::Closed(Closed::Disabled));
        assert_eq!(why(&text("775")), Bound::Closed(Closed::Locked));
        assert_eq!(why(""), Bound::Wrong);
    }

    #[test]
    fn slices_and_identifiers() {
        let mut entry = Entry::default();
        entry.attributes.insert("member;range=0-1499".into(), vec![b"cn=a".to_vec()]);
        assert_eq!(slice(&entry, "member"), Some(("member;range=0-1499".into(), Some(1500))));
        entry.attributes = [("member;range=1500-*".to_string(), vec![])].into();
        assert_eq!(slice(&entry, "member"), Some(("member;range=1500-*".into(), None)));
        entry.attributes = [("objectguid".to_string(), vec![vec![0x41, 0x42]]), ("uid".to_string(), vec![b" ann ".to_vec()])].into();
        assert_eq!((entry.identifier("objectGUID"), entry.identifier("uid")), (Some("4142".into()), Some("ann".into())));
    }
}
