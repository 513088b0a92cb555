//! SKUs: named sizes of servers (spec 10 §7).

use crate::{place, shared};
use api_compute::ServerSku;
use base::{Error, Result, Row, err};
use resource::{BoxFuture, Hooks, Kind, Map, Naming, Op, Page};
use serde_json::json;
use std::collections::HashMap;
use store::{Cond, Pick, Read, Select};

const CATEGORIES: [&str; 7] =
    ["general_purpose", "burstable", "compute_optimized", "memory_optimized", "storage_optimized", "hardware_accelerated", "high_memory"];

struct SkuHooks;

fn check(row: &Row) -> Result<()> {
    let (cpu, mem) = (row.int("cpu_core_count"), row.int("memory_size_mb"));
    if !(1..=256).contains(&cpu) {
        return Err(err!(OutOfRange, "cpu_core_count: {} is out of range 1 to 256", cpu));
    }
    if !(512..=512 * 1024).contains(&mem) {
        return Err(err!(OutOfRange, "memory_size_mb: {} MiB is out of range 512 to 524288", mem));
    }
    Ok(())
}

impl Hooks for SkuHooks {
    fn create<'a>(&'a self, _op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            // Left out or zero is missing, not out of range: the engine says so by name.
            if row.int("cpu_core_count") == 0 {
                return Err(err!(MissingParameter, "cpu_core_count is missing; give a number of processors, as in 2"));
            }
            if row.int("memory_size_mb") == 0 {
                return Err(err!(MissingParameter, "memory_size_mb is missing; give it in MiB, as in 2048"));
            }
            check(row)?;
            if row.text("instance_type_category").is_empty() {
                row.set("instance_type_category", "general_purpose");
            }
            let category = row.text("instance_type_category").to_string();
            if !CATEGORIES.contains(&category.as_str()) {
                return Err(err!(InputParameter, "instance_type_category: {} is not one of {}", category, CATEGORIES.join(", ")));
            }
            let family = row.name().split('.').nth(1).unwrap_or("g1").to_string();
            row.set("instance_type_family", family);
            row.set("local_category", category);
            row.set("enabled", resource::flag(body, "enabled")?.unwrap_or(true));
            row.set("status", "ready");
            Ok(())
        })
    }
    fn update<'a>(&'a self, _op: &'a Op<'a>, _old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { check(row) })
    }
    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let used = used(op, rows.iter().map(|r| r.name().to_string()).collect()).await?;
            let busy = |row: &Row| {
                used.get(row.name())
                    .map(|n| err!(NotEmpty, "{} {} still has {} {}; delete them first", "serversku", row.name(), n, "servers"))
            };
            Ok(rows.iter().map(busy).collect())
        })
    }
    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if !page.details {
                return Ok(());
            }
            place(op, page, |row| row.text("zone_id").to_string()).await?;
            let used = used(op, page.rows.iter().map(|r| r.name().to_string()).collect()).await?;
            for i in 0..page.rows.len() {
                let n = used.get(page.rows[i].name()).copied().unwrap_or(0);
                page.add(i, "total_guest_count", n);
                let key = |k: &str| page.extras[i].iter().rev().find(|(name, _)| name == k).map(|(_, v)| v.clone()).unwrap_or_default();
                let (post, pre) = (page.rows[i].text("postpaid_status").to_string(), page.rows[i].text("prepaid_status").to_string());
                let zone =
                    json!({"zone": key("zone"), "zone_id": page.rows[i].text("zone_id"), "postpaid_status": post, "prepaid_status": pre});
                let zones = if page.rows[i].text("zone_id").is_empty() { vec![] } else { vec![zone] };
                let region = json!({"cloudregion": key("cloudregion"), "cloudregion_id": key("cloudregion_id"), "postpaid_status": post, "prepaid_status": pre, "zones": zones});
                page.add(i, "regional_availability", json!([region]));
            }
            Ok(())
        })
    }
}

async fn used(op: &Op<'_>, names: Vec<String>) -> Result<HashMap<String, i64>> {
    let select = Select::from("servers")
        .column("instance_type", base::Kind::Text)
        .pick(Pick::Count)
        .filter(Cond::is_in("instance_type", names).and(Cond::eq("deleted", false)))
        .group_by("instance_type");
    let mut db = &op.engine.db;
    Ok(db.rows(&select).await?.into_iter().map(|r| (r[0].as_str().to_string(), r[1].as_int().unwrap_or(0))).collect())
}

pub(crate) fn kind() -> Kind {
    Kind::new::<ServerSku, _>(&shared(SkuHooks)).naming(Naming::Global).done()
}
