//! The scheduler's own endpoints, as existing clients call them (spec 12 §1).

use crate::{DiskWish, NetWish, Request, Scheduler};
use base::{Json, Result, err};
use serde_json::json;

fn int(body: &Json, key: &str) -> Option<i64> {
    let v = body.get(key)?;
    v.as_i64().or_else(|| v.as_str()?.parse().ok())
}

/// The request in a schedule, forecast or test body.
pub(crate) fn request(body: &Json) -> Result<Request> {
    let body = body.get("scheduler").unwrap_or(body);
    let map = body.as_object().ok_or_else(|| err!(InputParameter, "the body must be an object"))?;
    let text = |keys: &[&str]| keys.iter().find_map(|k| body.get(*k).and_then(Json::as_str)).unwrap_or_default().to_string();
    let disks = api_compute::DiskConfig::list(map)?;
    let nets = api_compute::NetConfig::list(map)?;
    Ok(Request {
        vcpu_count: int(body, "vcpu_count").unwrap_or(1),
        vmem_size: int(body, "vmem_size").ok_or_else(|| err!(MissingParameter, "{} is missing", "vmem_size"))?,
        disks: disks
            .into_iter()
            .map(|d| DiskWish { size: d.size.max(0), backend: d.backend, storage_id: d.storage_id, medium: d.medium })
            .collect(),
        nets: nets.into_iter().map(|n| NetWish { network_id: n.network, wire_id: n.wire }).collect(),
        prefer_host: text(&["prefer_host_id", "prefer_host"]),
        prefer_zone: text(&["prefer_zone_id", "prefer_zone"]),
        project_id: text(&["project_id", "project"]),
        domain_id: text(&["domain_id", "project_domain"]),
        ..Request::default()
    })
}

impl Scheduler {
    /// `POST /scheduler/{word}`; clean-cache and its kin have nothing to do here: the snapshot follows the database by itself.
    pub async fn serve(&self, path: &[&str], body: &Json) -> Result<Json> {
        match path {
            [] => {
                self.catch_up().await?;
                let wanted = request(body)?;
                let count = int(body, "count").unwrap_or(1).max(1) as usize;
                let out = self.place(&wanted, count);
                if out.candidates.len() < count {
                    return Err(err!(InsufficientResource, "No matching resources: {}", out.explain(&wanted)));
                }
                let rows: Vec<Json> = out.candidates.iter().map(|c| candidate(c, &wanted)).collect();
                Ok(json!({ "candidates": rows }))
            }
            ["forecast"] => {
                let wanted = request(body)?;
                let count = int(body, "count").unwrap_or(1).max(1) as usize;
                let out = self.place(&wanted, count);
                let rows: Vec<Json> = out.candidates.iter().map(|c| candidate(c, &wanted)).collect();
                let filtered: Vec<Json> = out
                    .refusals
                    .iter()
                    .take(100)
                    .map(
                        |(host, refusal)| json!({"id": host, "name": host, "filter_name": "placement", "reasons": [refusal.text(&wanted)]}),
                    )
                    .collect();
                Ok(
                    json!({"candidates": rows, "can_create": out.candidates.len() >= count, "req_count": count, "allow_count": out.candidates.len(),
                    "filtered_candidates": filtered, "not_allow_reasons": if rows_short(&out, count) { vec![out.explain(&wanted)] } else { vec![] }}),
                )
            }
            ["test"] => {
                let wanted = request(body)?;
                let limit = int(body, "suggestion_limit").unwrap_or(100).clamp(1, 2048) as usize;
                let out = self.place(&wanted, limit);
                let rows: Vec<Json> = self.with(|s| {
                    out.candidates
                        .iter()
                        .filter_map(|c| s.hosts.get(&c.host_id).map(|h| (c, h)))
                        .map(|(c, h)| {
                            json!({"id": c.host_id, "name": c.name, "capacity": capacity(h, &wanted), "score": format!("capacity:{}", c.score),
                                "count": 1, "capacity_details": {}, "score_details": ""})
                        })
                        .collect()
                });
                let total = rows.len();
                Ok(json!({"data": rows, "total": total, "limit": limit, "offset": 0}))
            }
            ["candidate-list"] => {
                let limit = int(body, "limit").unwrap_or(20).clamp(1, 2048) as usize;
                let offset = int(body, "offset").unwrap_or(0).max(0) as usize;
                let zone = body.get("zone").and_then(Json::as_str).unwrap_or_default();
                let (rows, total) = self.with(|s| {
                    let fit: Vec<_> = s.hosts.values().filter(|h| zone.is_empty() || h.zone_id == zone).collect();
                    (fit.iter().skip(offset).take(limit).map(|h| describe(h)).collect::<Vec<Json>>(), fit.len())
                });
                Ok(json!({"data": rows, "total": total, "limit": limit, "offset": offset}))
            }
            ["candidate-detail", which] => self.with(|s| {
                let host = s.hosts.get(*which).or_else(|| s.hosts.values().find(|h| h.name == *which));
                host.map(|h| json!({"candidate": describe(h)})).ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "host", which))
            }),
            ["clean-cache", ..] | ["completed", ..] => Ok(json!({"scheduler": {}})),
            ["cleanup"] => Ok(json!({})),
            ["sync-sku"] => Ok(Json::Null),
            _ => Err(err!(NotFound, "no resource {} here", path.join("/"))),
        }
    }
}

fn rows_short(out: &crate::Outcome, count: usize) -> bool {
    out.candidates.len() < count
}

fn candidate(c: &crate::Candidate, r: &Request) -> Json {
    let disks: Vec<Json> = c.storages.iter().enumerate().map(|(i, s)| json!({"index": i, "storage_ids": [s]})).collect();
    let nets: Vec<Json> = c.networks.iter().enumerate().map(|(i, n)| json!({"index": i, "network_ids": [n]})).collect();
    json!({"host_id": c.host_id, "name": c.name, "session_id": "", "disks": disks, "nets": nets, "cpu": r.vcpu_count})
}

fn capacity(h: &crate::HostView, r: &Request) -> i64 {
    let cpu = (h.cpu_capacity - h.cpu_commit) / r.vcpu_count.max(1);
    let mem = (h.mem_capacity - h.mem_commit) / r.vmem_size.max(1);
    cpu.min(mem).max(0)
}

fn describe(h: &crate::HostView) -> Json {
    let storage: i64 = h.storages.iter().map(|s| s.free).sum();
    json!({"id": h.id, "name": h.name, "status": h.status, "host_type": h.host_type,
        "host_status": if h.online { "online" } else { "offline" }, "enable_status": if h.enabled { "enable" } else { "disable" },
        // The spelling is the wire's.
        "cpu": {"free": h.cpu_capacity - h.cpu_commit, "reserverd": h.cpu_reserved, "total": h.cpu_capacity},
        "mem": {"free": h.mem_capacity - h.mem_commit, "reserverd": h.mem_reserved, "total": h.mem_capacity},
        "storage": {"free": storage, "reserverd": 0, "total": storage}, "pending_usage": null})
}
