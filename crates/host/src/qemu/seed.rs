//! The NoCloud disk: what cloud-init reads where the metadata service cannot be reached (label `cidata`).

use api_agent::GuestSpec;
use base::{Result, Timestamp, err};
use iso9660::File;
use serde_json::json;

/// An ISO 9660 image with `meta-data` and `user-data`. JSON is YAML, so both are written as JSON: nothing can be quoted wrongly.
pub(super) fn image(guest: &GuestSpec, at: Timestamp) -> Result<Vec<u8>> {
    let meta = &guest.meta;
    let mut data = json!({"instance-id": guest.id, "local-hostname": meta.hostname, "public-keys": meta.ssh_keys});
    if !meta.instance_type.is_empty() {
        data["instance-type"] = json!(meta.instance_type);
    }
    let files = [File::new("meta-data", data.to_string()), File::new("user-data", user_data(guest))];
    iso9660::write("cidata", &files, at).map_err(|e| err!(InputParameter, "the configuration disk cannot be written: {}", e))
}

/// The user's own data as given; without any, a cloud-config with the login the platform was asked for.
fn user_data(guest: &GuestSpec) -> String {
    let meta = &guest.meta;
    if !meta.user_data.is_empty() {
        return meta.user_data.clone();
    }
    let mut config = json!({"hostname": meta.hostname, "ssh_authorized_keys": meta.ssh_keys, "disable_root": false});
    if !meta.password.is_empty() {
        let account = if meta.login_account.is_empty() { "root" } else { &meta.login_account };
        config["ssh_pwauth"] = json!(true);
        config["password"] = json!(meta.password);
        config["chpasswd"] = json!({"expire": false, "users": [{"name": account, "password": meta.password, "type": "text"}]});
    }
    format!("#cloud-config\n{config}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_agent::GuestMeta;

    #[test]
    fn holds_both_files() {
        let meta = GuestMeta {
            hostname: "web-1".into(),
            ssh_keys: vec!["ssh-ed25519 AAAA me".into()],
            password: "p\"'w".into(),
            ..GuestMeta::default()
        };
        let guest = GuestSpec { id: "g".into(), meta, ..GuestSpec::default() };
        let image = image(&guest, Timestamp::ZERO.plus_secs(946_684_800)).unwrap();
        let has = |text: &str| image.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(has("\"local-hostname\":\"web-1\"") && has("#cloud-config") && has("ssh-ed25519 AAAA me"));
    }
}
