//! The location and brand keys that most rows of the region carry (spec 10 §1.1, managed).

use api_compute::{CloudRegion, Zone};
use base::{Resource, Result};
use resource::{Op, Page};

/// The region of what is in no zone.
const DEFAULT: &str = "default";

/// Adds what every resource of our own cloud says of itself.
pub fn brand(page: &mut Page) {
    for i in 0..page.rows.len() {
        page.add(i, "provider", "OneCloud");
        page.add(i, "brand", "OneCloud");
        page.add(i, "cloud_env", "onpremise");
        page.add(i, "account_read_only", false);
    }
}

/// Adds region keys, given the zone id of each row; an empty one means the default region alone.
pub async fn place(op: &Op<'_>, page: &mut Page, zone_of: impl Fn(&base::Row) -> String) -> Result<()> {
    let db = &op.engine.db;
    let of: Vec<String> = page.rows.iter().map(zone_of).collect();
    let zones = db.known(Zone::facts(), &["name", "cloudregion_id"], of.iter().map(String::as_str)).await?;
    let region_of = |zone: &str| zones.get(zone).map_or(DEFAULT, |cells| cells[1].as_str());
    let regions = db.known(CloudRegion::facts(), &["name"], of.iter().map(|zone| region_of(zone))).await?;
    for (i, zone) in of.iter().enumerate() {
        let region = region_of(zone);
        let name = regions.get(region).map_or("", |cells| cells[0].as_str());
        if let Some(cells) = zones.get(zone) {
            page.add(i, "zone", cells[0].as_str());
            page.add(i, "zone_id", zone.as_str());
        }
        page.add(i, "cloudregion", name);
        page.add(i, "cloudregion_id", region);
        page.add(i, "region", name);
        page.add(i, "region_id", region);
    }
    Ok(())
}
