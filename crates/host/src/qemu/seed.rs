//! The NoCloud disk: what a guest learns at its first boot without a network. Pure.
//!
//! Source: cloud-init's NoCloud data source; `network-config` is its version 2. What the user wrote goes to the guest byte for byte; what the
//! platform adds stands in `vendor-data`, which the user's words override, or in `user-data` when the user wrote nothing.

use api_agent::GuestSpec;
use base::{Result, Timestamp};
use iso9660::File;

pub const LABEL: &str = "cidata";

/// The image; the same spec gives the same bytes.
pub fn image(guest: &GuestSpec) -> Result<Vec<u8>> {
    iso9660::write(LABEL, &files(guest), Timestamp::ZERO)
}

fn files(guest: &GuestSpec) -> Vec<File> {
    let meta = &guest.meta;
    let ours = cloud_config(guest);
    let mut files = vec![File::new("meta-data", meta_data(guest)), File::new("network-config", network_config(guest))];
    if meta.user_data.is_empty() {
        files.push(File::new("user-data", ours));
    } else {
        files.push(File::new("user-data", meta.user_data.clone()));
        files.push(File::new("vendor-data", ours));
    }
    files
}

fn hostname(guest: &GuestSpec) -> &str {
    if guest.meta.hostname.is_empty() { &guest.name } else { &guest.meta.hostname }
}

fn meta_data(guest: &GuestSpec) -> String {
    let mut out = format!("instance-id: {}\nlocal-hostname: {}\n", word(&guest.id), word(hostname(guest)));
    if !guest.meta.ssh_keys.is_empty() {
        out.push_str("public-keys:\n");
        for key in &guest.meta.ssh_keys {
            out.push_str(&format!("- {}\n", word(key)));
        }
    }
    out
}

fn cloud_config(guest: &GuestSpec) -> String {
    let meta = &guest.meta;
    let mut out = format!("#cloud-config\nhostname: {}\n", word(hostname(guest)));
    if !meta.password.is_empty() {
        if !meta.login_account.is_empty() {
            out.push_str(&format!("user: {}\n", word(&meta.login_account)));
        }
        let root = matches!(meta.login_account.as_str(), "" | "root");
        out.push_str(&format!("password: {}\nchpasswd: {{expire: false}}\nssh_pwauth: true\n", word(&meta.password)));
        out.push_str(&format!("disable_root: {}\n", !root));
    }
    if !meta.ssh_keys.is_empty() {
        out.push_str("ssh_authorized_keys:\n");
        for key in &meta.ssh_keys {
            out.push_str(&format!("- {}\n", word(key)));
        }
    }
    out
}

/// Every interface asks the agent's DHCP; without this cloud-init would only bring up the first.
fn network_config(guest: &GuestSpec) -> String {
    let mut out = "version: 2\nethernets:\n".to_string();
    if guest.nics.is_empty() {
        return "version: 2\nethernets: {}\n".into();
    }
    for nic in &guest.nics {
        let mac = word(&nic.mac.to_ascii_lowercase());
        out.push_str(&format!("  nic{}:\n    match: {{macaddress: {mac}}}\n    dhcp4: true\n", nic.index));
        if !nic.is_default && guest.nics.iter().any(|n| n.is_default) {
            // Only one of several interfaces gives the guest its way out and its names.
            out.push_str("    dhcp4-overrides: {use-routes: false, use-dns: false}\n    optional: true\n");
        }
    }
    out
}

/// A YAML scalar: bare when nothing in it could be read as more than a word, else a quoted JSON string, which YAML contains.
fn word(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_./@+= ".contains(c);
    let tame = text.chars().all(bare) && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.trim() == text;
    let keyword = matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n");
    if tame && !keyword { text.to_string() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_agent::{GuestMeta, GuestNic};

    fn guest() -> GuestSpec {
        GuestSpec {
            id: "8a7e0f4c-1111-4222-8333-444455556666".into(),
            name: "web".into(),
            nics: vec![
                GuestNic { index: 0, mac: "00:22:AA:00:00:01".into(), is_default: true, ..Default::default() },
                GuestNic { index: 1, mac: "00:22:AA:00:00:02".into(), ..Default::default() },
            ],
            meta: GuestMeta {
                ssh_keys: vec!["ssh-ed25519 AAAA+x/y= me@here".into()],
                login_account: "root".into(),
                password: "a\"b: #c".into(),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    fn content(files: &[File], name: &str) -> String {
        String::from_utf8(files.iter().find(|f| f.name == name).expect(name).content.clone()).unwrap()
    }

    #[test]
    fn what_the_platform_says() {
        let files = files(&guest());
        assert_eq!(
            content(&files, "meta-data"),
            "instance-id: \"8a7e0f4c-1111-4222-8333-444455556666\"\nlocal-hostname: web\npublic-keys:\n- ssh-ed25519 AAAA+x/y= me@here\n"
        );
        assert_eq!(
            content(&files, "user-data"),
            "#cloud-config\nhostname: web\nuser: root\npassword: \"a\\\"b: #c\"\nchpasswd: {expire: false}\nssh_pwauth: true\n\
             disable_root: false\nssh_authorized_keys:\n- ssh-ed25519 AAAA+x/y= me@here\n"
        );
        assert_eq!(
            content(&files, "network-config"),
            "version: 2\nethernets:\n  nic0:\n    match: {macaddress: \"00:22:aa:00:00:01\"}\n    dhcp4: true\n  nic1:\n    \
             match: {macaddress: \"00:22:aa:00:00:02\"}\n    dhcp4: true\n    \
             dhcp4-overrides: {use-routes: false, use-dns: false}\n    optional: true\n"
        );
    }

    #[test]
    fn what_the_user_says_stays_as_it_is() {
        let mut guest = guest();
        guest.meta.user_data = "#!/bin/sh\necho \"hi\"\n".into();
        let files = files(&guest);
        assert_eq!(content(&files, "user-data"), guest.meta.user_data);
        assert!(content(&files, "vendor-data").starts_with("#cloud-config\n"));
        assert!(image(&guest).unwrap().len() > 20 * iso9660::SECTOR);
    }

    #[test]
    fn words() {
        for (text, yaml) in [("web-1", "web-1"), ("no", "\"no\""), ("1e3", "\"1e3\""), ("a: b", "\"a: b\""), ("", "\"\""), ("x ", "\"x \"")]
        {
            assert_eq!(word(text), yaml);
        }
    }
}
