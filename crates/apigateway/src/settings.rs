//! What consoles are told of the installation: its settings, what it is capable of, its name and colours.

use crate::{Gateway, licence::demand_administrator, on, parameters, proxy};
use base::{Class, Ctx, Json, Result, err};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, Reply, Request, Response, Router};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc};

/// Largest logo, bytes (the picture itself).
const LOGO: usize = 64 << 10;
const BRANDING: &str = "branding";

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    router
        .get("/api/{ver}/service_settings", on(gateway, |g, r| async move { services(&g, r).await }))
        .get("/api/{ver}/capabilities", on(gateway, |g, r| async move { capabilities(&g, r).await }))
        .get("/api/{ver}/branding", on(gateway, |g, r| async move { branding(&g, r).await }))
        .put("/api/{ver}/branding", on(gateway, |g, r| async move { rebrand(&g, r).await }))
}

/// `GET service_settings` (spec 03 §3.6): needs no login.
async fn services(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let o = &gateway.options;
    Ok(Response::json(&json!({
        "common": {"api_server": gateway.url, "enable_quota_check": o.enable_quota_check, "enable_watermark": o.enable_watermark, "enable_cloud_shell": false},
        "identity": {"no_action_logout_seconds": o.no_action_logout_seconds},
        "yunionapi": {"enable_organization": o.enable_organization, "totp_issuer": o.product_name},
        "compute_v2": {"enable_pending_delete": o.bins.compute},
        "image": {"enable_pending_delete": o.bins.image},
        "meter": {"cost_conversion_available": false, "enable_prediction": false, "share_resource_type": []},
    })))
}

/// Keys a console reads as lists of brands; those without anything here are empty (spec 03 §3.4).
const ENGINES: [&str; 24] = [
    "compute_engine",
    "rds_engine",
    "redis_engine",
    "loadbalancer_engine",
    "cloud_id",
    "saml_auth",
    "nat",
    "nas",
    "waf",
    "cdn",
    "public_ip",
    "network_manage",
    "object_storage",
    "modelarts_pools",
    "mongodb",
    "kafka",
    "dns",
    "container",
    "vpc_peer",
    "security_group",
    "snapshot_policy",
    "elasticsearch",
    "tablestore",
    "ai_gateway",
];

/// `GET capabilities` (spec 03 §3.4): what the region says of itself, or what follows from what the caller may see of it.
async fn capabilities(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let visit = gateway.enter(request).await?;
    let path = format!("/capabilities?{}", visit.request.path.raw_query());
    let asked = gateway.services.for_user(&visit.ctx, Method::GET, "compute_v2", "", &path).await?.send().await;
    let told = match asked {
        Ok(answer) => answer.json().await?,
        Err(e) if matches!(e.class(), Class::NotFound | Class::ResourceNotFound) => derived(gateway, &visit.ctx).await?,
        Err(e) => return Err(e),
    };
    Ok(Response::json(&json!({"data": [told], "total": 1})))
}

/// Rows of a resource the caller may list; none where he may not.
async fn rows(gateway: &Gateway, ctx: &Ctx, plural: &str) -> Result<Vec<Json>> {
    let call = gateway.services.for_user(ctx, Method::GET, "compute_v2", "", &format!("/{plural}?limit=2048&details=false")).await?;
    match call.send().await {
        Ok(answer) => Ok(answer.json().await?[plural].as_array().cloned().unwrap_or_default()),
        Err(e) if e.class().http() == 403 || e.class().http() == 404 => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

async fn derived(gateway: &Gateway, ctx: &Ctx) -> Result<Json> {
    let (hosts, storages, networks) =
        tokio::try_join!(rows(gateway, ctx, "hosts"), rows(gateway, ctx, "storages"), rows(gateway, ctx, "networks"))?;
    let words = |rows: &[Json], key: &str| -> BTreeSet<String> {
        rows.iter().filter_map(|r| r[key].as_str()).filter(|t| !t.is_empty()).map(str::to_string).collect()
    };
    let usable = hosts.iter().filter(|h| h["enabled"] == true && h["host_status"] == "online").count();
    let kinds: Vec<String> = words(&storages, "storage_type").iter().map(|t| format!("{t}/rotate")).collect();
    let of_storages = |rows: &[Json]| -> Json {
        let mut out = serde_json::Map::new();
        for row in rows {
            let key = format!("{}/{}", row["storage_type"].as_str().unwrap_or("local"), row["medium_type"].as_str().unwrap_or("rotate"));
            let entry = out.entry(key).or_insert_with(|| json!({"capacity": 0, "free_capacity": 0, "is_sys_disk_store": true}));
            for (to, from) in [("capacity", "capacity"), ("free_capacity", "free_capacity")] {
                entry[to] = (entry[to].as_i64().unwrap_or(0) + row[from].as_i64().unwrap_or(0)).into();
            }
        }
        Json::Object(out)
    };
    let storage = of_storages(&storages);
    let mut out = json!({
        "hypervisors": ["kvm"], "brands": ["OneCloud"], "enabled_brands": ["OneCloud"], "disabled_brands": [],
        "hypervisor_info": {"kvm": ["OneCloud"]},
        "resource_types": ["shared"], "gpu_models": [], "pci_model_types": [],
        "host_cpu_archs": words(&hosts, "cpu_architecture"),
        "min_nic_count": 1, "max_nic_count": 8, "min_data_disk_count": 0, "max_data_disk_count": 12,
        "available_host_count": usable, "usable": usable > 0 && !networks.is_empty(), "sched_policy_support": false,
        "public_network_count": networks.iter().filter(|n| n["is_auto_alloc"] == true).count(),
        "auto_alloc_network_count": networks.iter().filter(|n| n["is_auto_alloc"] == true).count(),
        "specs": {"hosts": {}, "isolated_devices": {}},
        "storage_types": kinds, "data_storage_types": kinds,
        "storage_types2": {"kvm": kinds}, "data_storage_types2": {"kvm": kinds},
        "storage_types3": {"kvm": storage}, "data_storage_types3": {"kvm": storage},
        "dbinstance": {}, "instance_capabilities": [{"hypervisor": "kvm", "provider": "OneCloud", "default_account": {}, "storages": {}}],
    });
    for engine in ENGINES {
        let own = matches!(engine, "compute_engine" | "network_manage");
        let brands = if own { json!(["OneCloud"]) } else { json!([]) };
        out[format!("{engine}_brands")] = brands.clone();
        out[format!("enabled_{engine}_brands")] = brands;
        out[format!("disabled_{engine}_brands")] = json!([]);
        out[format!("read_only_{engine}_brands")] = json!([]);
    }
    Ok(out)
}

/// Name, logo and colour: what an administrator set, else what the configuration says. Needs no login: the login page shows them.
async fn branding(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    Ok(Response::json(&brand(gateway).await?).with_header("cache-control", "no-cache"))
}

async fn brand(gateway: &Gateway) -> Result<Json> {
    let o = &gateway.options;
    let mut out = json!({"name": o.product_name, "logo": gateway.logo, "accent": o.colour, "company": o.company});
    let set = parameters::shared(gateway, BRANDING, json!({})).await?;
    for (key, value) in set["value"].as_object().into_iter().flatten() {
        if value.is_string() && out.get(key).is_some() {
            out[key.as_str()] = value.clone();
        }
    }
    Ok(out)
}

async fn rebrand(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let mut visit = gateway.enter(request).await?;
    demand_administrator(gateway, &visit)?;
    let body = visit.request.json().await?.unwrap_or_else(|| json!({}));
    let mut new = serde_json::Map::new();
    for key in ["name", "logo", "accent", "company"] {
        let Some(text) = body[key].as_str() else { continue };
        let fits = match key {
            "logo" => text.is_empty() || picture(text),
            "accent" => text.is_empty() || colour(text),
            "name" => (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control),
            _ => text.chars().count() <= 128 && !text.chars().any(char::is_control),
        };
        if !fits {
            return Err(err!(
                InputParameter,
                "{}: give a name of 1 to 64 characters, a colour as #2468ac, or a picture of at most {} bytes as a data URL",
                key,
                LOGO
            ));
        }
        new.insert(key.to_string(), text.into());
    }
    parameters::share(gateway, BRANDING, &Json::Object(new), &visit.ctx.caller.user_id).await?;
    Ok(Response::json(&brand(gateway).await?))
}

fn colour(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(|hex| matches!(hex.len(), 3 | 6) && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Shown by `<img>`, where scripts inside do not run.
fn picture(text: &str) -> bool {
    const KINDS: [&str; 4] = ["image/svg+xml", "image/png", "image/jpeg", "image/webp"];
    let Some((kind, data)) = text.strip_prefix("data:").and_then(|t| t.split_once(";base64,")) else { return false };
    KINDS.contains(&kind) && data.len() <= LOGO.div_ceil(3) * 4 && STANDARD.decode(data).is_ok()
}

/// A picture file as a data URL, for the configured logo.
pub fn data_url(path: &std::path::Path) -> Result<String> {
    if path.as_os_str().is_empty() {
        return Ok(String::new());
    }
    let bad = |cause: &dyn std::fmt::Display| err!(InputParameter, "the logo {} cannot be used: {}", path.display(), cause);
    let kind = match path.extension().and_then(|e| e.to_str()) {
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        _ => return Err(bad(&"its name must end with svg, png, jpg or webp")),
    };
    let bytes = std::fs::read(path).map_err(|e| bad(&e))?;
    if bytes.len() > LOGO {
        return Err(bad(&format!("it is larger than {LOGO} bytes")));
    }
    Ok(format!("data:{kind};base64,{}", STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_pictures() {
        assert!(colour("#fff") && colour("#2456d6") && !colour("red") && !colour("#12345") && !colour("#12345;}"));
        assert!(picture("data:image/png;base64,AAAA"));
        for bad in ["data:text/html;base64,AAAA", "javascript:alert(1)", "data:image/png;base64,<script>", "http://x/y.png"] {
            assert!(!picture(bad), "{bad}");
        }
        assert!(!picture(&format!("data:image/png;base64,{}", "A".repeat(100_000))));
        assert_eq!(data_url(std::path::Path::new("")).expect("none"), "");
        assert!(data_url(std::path::Path::new("/nowhere/logo.svg")).is_err());
    }
}
