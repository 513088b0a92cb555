//! What clients of the wire may ask of a new server that is not there. Who believes in a firewall, a backup or an end of the bill must be told that there
//! is none, so such a wish is refused before anything is made.

use api_compute::{asked, wishes};
use base::{Error, Json, Result, err};
use resource::Map;

/// Fields, and what is said of the one that is asked for.
type Absent = (&'static [&'static str], fn(&str) -> Error);

const ABSENT: &[Absent] = &[
    (&["cdrom"], |field| {
        err!(InputParameter, "{}: servers have no CD drive here; leave it out, and name an image of an installed system in disks", field)
    }),
    (&["eip", "eip_bw", "public_ip_bw"], |field| {
        err!(
            InputParameter,
            "{}: there are no elastic addresses here; leave it out, and name a network with outside addresses in nets",
            field
        )
    }),
    (&["isolated_devices", "isolated_device"], |field| {
        err!(InputParameter, "{}: devices of hosts are not passed through here; leave it out", field)
    }),
    (&["groups", "schedtags", "schedtag"], |field| {
        err!(
            InputParameter,
            "{}: servers are not grouped or tagged for placement here; leave it out, and choose with prefer_host or prefer_zone",
            field
        )
    }),
    (&["backup", "prefer_backup_host"], |field| err!(InputParameter, "{}: servers have no second host here; leave it out", field)),
    (&["instance_snapshot_id", "instance_backup_id", "guest_image_id"], |field| {
        err!(InputParameter, "{}: servers are not made of snapshots or backups here; leave it out, and name images in disks", field)
    }),
    (&["deploy_configs", "deploy", "kickstart_config"], |field| {
        err!(InputParameter, "{}: nothing is written into disks here; leave it out, and let user_data write it at the first boot", field)
    }),
    (&["duration", "auto_renew", "release_at"], |field| {
        err!(
            InputParameter,
            "{}: servers are not paid for by time here; leave it out, and delete the server when it is no longer needed",
            field
        )
    }),
    (&["encrypt_key_id", "encrypt_key_new", "enable_tpm"], |field| {
        err!(InputParameter, "{}: disks are not encrypted and servers have no TPM here; leave it out, and encrypt inside the guest", field)
    }),
    (&["is_daemon"], |field| {
        err!(InputParameter, "{}: a server that was running starts with its host anyway, a stopped one does not; leave it out", field)
    }),
    (&["prefer_manager_id", "prefer_manager"], |field| {
        err!(InputParameter, "{}: there are no other clouds here; leave it out, and choose with prefer_zone or prefer_host", field)
    }),
    (&["fake_create"], |field| err!(InputParameter, "{}: servers are really made here; leave it out, or check with dry_run", field)),
];

const GROUPS: &[&str] = &["secgroups", "secgroup", "secgroup_id", "secgrp_id"];

/// Refuses a request for a server that asks for what is not there.
pub(super) fn refuse(body: &Map) -> Result<()> {
    for (fields, say) in ABSENT {
        if let Some(key) = asked(body, fields) {
            return Err(say(key));
        }
    }
    // The group every server is in by default lets everything through, and so do we.
    let open = |value: &Json| match value {
        Json::Array(items) => items.iter().all(|item| item == "default"),
        one => one == "default",
    };
    if let Some(key) = wishes(body, GROUPS).find(|(_, value)| !open(value)).map(|(key, _)| key) {
        return Err(err!(
            InputParameter,
            "{}: there are no security groups here, nothing would be filtered; leave it out, and filter inside the guest",
            key
        ));
    }
    unpaid(body)
}

/// Refuses to have something paid for in advance.
pub(crate) fn unpaid(body: &Map) -> Result<()> {
    match resource::text(body, &["billing_type"]) {
        Some(kind) if kind != "postpaid" => Err(err!(InputParameter, "billing_type: {} is not there; use postpaid, or leave it out", kind)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(body: &Json) -> Option<String> {
        refuse(body.as_object().expect("an object")).err().map(|e| e.to_string())
    }

    /// Every field, with the values by which clients say nothing and with one that says something.
    #[test]
    fn only_what_says_something_is_refused() {
        let fields = ABSENT.iter().flat_map(|(fields, _)| fields.iter()).chain(GROUPS);
        for field in fields {
            for nothing in
                [json!(null), json!(false), json!(0), json!("0"), json!("false"), json!(""), json!([]), json!([""]), json!({"size": 0})]
            {
                assert_eq!(refused(&json!({ *field: nothing })), None, "{field}: {nothing}");
            }
            for something in [json!("x"), json!(["x"]), json!([{"id": "x"}]), json!({"id": "x"}), json!(true), json!(3)] {
                let why = refused(&json!({ *field: something })).unwrap_or_else(|| panic!("{field}: {something} was taken"));
                assert!(why.starts_with(&format!("{field}: ")) && why.contains("leave it out"), "{why}");
            }
        }
        assert!(refused(&json!({"deploy.0.path": "/etc/motd"})).expect("a refusal").starts_with("deploy.0.path: "));
        assert_eq!(refused(&json!({"secgrp_id": "default", "secgroups": ["default"], "billing_type": "postpaid", "deployed": "x"})), None);
        assert!(refused(&json!({"secgroups": ["default", "web"]})).is_some());
        assert!(refused(&json!({"secgroups.0": "default", "secgroups.1": "web"})).expect("a refusal").starts_with("secgroups.1: "));
        assert!(refused(&json!({"billing_type": "prepaid"})).expect("a refusal").contains("postpaid"));
    }
}
