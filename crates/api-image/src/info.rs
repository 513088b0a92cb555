//! What a consumer of images (region, host agent) needs of one, read from either form of the wire: the headers of `HEAD /images/{id}` or a
//! JSON row. Fields a newer service adds are passed over, fields an older one lacks are empty.

use crate::{Status, headers::Map};
use base::{Error, Json, Kind, Result, Value, err};
use std::collections::BTreeMap;

/// An image as its users see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    pub id: String,
    pub name: String,
    /// `None` for a word this version does not know.
    pub status: Option<Status>,
    pub disk_format: String,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of the disk a guest sees; 0 where the service does not tell.
    pub virtual_size: u64,
    /// MD5 of the file, 32 hex digits.
    pub checksum: String,
    /// MiB
    pub min_disk: u64,
    /// MiB
    pub min_ram: u64,
    pub os_arch: String,
    pub is_public: bool,
    pub is_data: bool,
    pub domain_id: String,
    pub tenant_id: String,
    pub properties: BTreeMap<String, String>,
}

impl Info {
    /// Reads it from the result of [`crate::headers::read`] or from the object under `image`.
    ///
    /// # Errors
    /// `BadGateway` when there is no id, or a number or boolean is none: what answered is not an image service.
    pub fn read(map: &Map) -> Result<Info> {
        let text = |key: &str| match map.get(key) {
            Some(Json::String(s)) => s.clone(),
            _ => String::new(),
        };
        let value = |kind: Kind, key: &str| match map.get(key) {
            None => Ok(Value::Null),
            Some(json) => Value::from_json(kind, json).map_err(|bad| unreadable(&format!("{key}: {bad}"))),
        };
        let number = |key: &str| value(Kind::Int, key).map(|v| v.as_int().and_then(|n| u64::try_from(n).ok()).unwrap_or(0));
        let flag = |key: &str| value(Kind::Bool, key).map(|v| v.as_bool().unwrap_or(false));
        let properties = match map.get("properties") {
            Some(Json::Object(all)) => all.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_string()))).collect(),
            _ => BTreeMap::new(),
        };
        let id = text("id");
        if id.is_empty() {
            return Err(unreadable("no id"));
        }
        Ok(Info {
            id,
            name: text("name"),
            status: Status::parse(&text("status")),
            disk_format: text("disk_format"),
            size: number("size")?,
            virtual_size: number("virtual_size")?,
            checksum: text("checksum"),
            min_disk: number("min_disk")?,
            min_ram: number("min_ram")?,
            os_arch: text("os_arch"),
            is_public: flag("is_public")?,
            is_data: flag("is_data")?,
            domain_id: text("domain_id"),
            tenant_id: text("tenant_id"),
            properties,
        })
    }

    /// Whether it can be downloaded and started from.
    pub fn usable(&self) -> bool {
        self.status == Some(Status::Active)
    }
}

fn unreadable(why: &str) -> Error {
    err!(BadGateway, "the image service gave an answer that cannot be read").with_context(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers;
    use serde_json::json;

    #[test]
    fn both_forms_say_the_same() {
        let row = json!({
            "id": "i", "name": "tiny", "status": "active", "disk_format": "qcow2", "size": 196_616, "min_disk": 64, "min_ram": 0,
            "checksum": "41ce4d32ce22529a293044bc1eb4e734", "is_public": true, "properties": {"os_type": "Linux"}, "new_field": [1],
        });
        let Json::Object(row) = row else { unreachable!() };
        let from_row = Info::read(&row).expect("readable");
        let lines = headers::write(&row);
        let from_headers = Info::read(&headers::read(lines.iter().map(|(k, v)| (k.as_str(), v.as_slice()))).expect("readable"));
        assert_eq!(from_headers.expect("readable"), from_row);
        assert_eq!((from_row.size, from_row.min_disk, from_row.usable()), (196_616, 64, true));
        assert_eq!(from_row.properties["os_type"], "Linux");
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for bad in [json!({}), json!({"id": "i", "size": "much"}), json!({"id": "i", "is_public": "perhaps"})] {
            let Json::Object(bad) = bad else { unreachable!() };
            assert!(Info::read(&bad).is_err(), "{bad:?}");
        }
    }
}
