//! What clients see of an image beyond its columns.

use base::{Timestamp, Value};
use resource::Page;
use std::time::Duration;

pub fn add(page: &mut Page, keep_deleted: Duration) {
    for i in 0..page.rows.len() {
        let row = &page.rows[i];
        let protected = row.flag("disable_delete");
        let given = row.text("oss_checksum");
        let checksum = if given.is_empty() { row.text("checksum") } else { given }.to_string();
        let owner = page.single.then(|| row.text("tenant_id").to_string());
        let ends = match row.get("pending_deleted_at") {
            Value::Time(at) if row.flag("pending_deleted") => Some(at.plus_secs(i64::try_from(keep_deleted.as_secs()).unwrap_or(i64::MAX))),
            _ => None,
        };
        page.add(i, "protected", protected);
        page.add(i, "oss_checksum", checksum);
        if let Some(owner) = owner {
            page.add(i, "owner", owner);
        }
        if let Some(ends) = ends.filter(|t| *t > Timestamp::ZERO) {
            page.add(i, "auto_delete_at", ends.to_string());
        }
    }
}
