//! The location and brand keys that most rows of the region carry (spec 10 §1.1, managed).

use base::Result;
use resource::{Op, Page};
use std::collections::HashMap;
use store::{Cond, Read, Select};

/// Adds what every resource of our own cloud says of itself.
pub fn brand(page: &mut Page) {
    for i in 0..page.rows.len() {
        page.add(i, "provider", "OneCloud");
        page.add(i, "brand", "OneCloud");
        page.add(i, "cloud_env", "onpremise");
        page.add(i, "account_read_only", false);
    }
}

/// Adds region keys, given the zone id of each row; an empty one means the default region alone. Two queries, however many rows.
pub async fn place(op: &Op<'_>, page: &mut Page, zone_of: impl Fn(&base::Row) -> String) -> Result<()> {
    use base::Kind::Text;
    let zones: Vec<String> = page.rows.iter().map(&zone_of).collect();
    let mut wanted: Vec<&str> = zones.iter().map(String::as_str).filter(|z| !z.is_empty()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut known: HashMap<String, (String, String)> = HashMap::new();
    let mut db = &op.engine.db;
    if !wanted.is_empty() {
        let select =
            Select::from("zones").column("id", Text).column("name", Text).column("cloudregion_id", Text).filter(Cond::is_in("id", wanted));
        for row in db.rows(&select).await? {
            known.insert(row[0].as_str().to_string(), (row[1].as_str().to_string(), row[2].as_str().to_string()));
        }
    }
    let names: HashMap<String, String> = db
        .rows(&Select::from("cloudregions").column("id", Text).column("name", Text))
        .await?
        .into_iter()
        .map(|r| (r[0].as_str().to_string(), r[1].as_str().to_string()))
        .collect();
    for (i, zone) in zones.iter().enumerate() {
        let region = known.get(zone).map_or("default", |(_, region)| region.as_str()).to_string();
        let name = names.get(&region).cloned().unwrap_or_default();
        if let Some((zone_name, _)) = known.get(zone) {
            page.add(i, "zone", zone_name.clone());
            page.add(i, "zone_id", zone.clone());
        }
        page.add(i, "cloudregion", name.clone());
        page.add(i, "cloudregion_id", region.clone());
        page.add(i, "region", name);
        page.add(i, "region_id", region);
    }
    Ok(())
}
