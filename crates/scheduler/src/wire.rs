//! The scheduler's own endpoints, as existing clients call them (spec 12 §1).

use crate::{Candidate, DiskWish, HostView, NetWish, Request, Scheduler, StorageView, deal, place};
use base::{Json, Kind, Lang, Result, err};
use serde_json::json;
use std::collections::HashMap;
use store::{Cond, Read, Select};

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
    let (project_id, domain_id) = (text(&["project_id", "project"]), text(&["domain_id", "project_domain"]));
    Ok(Request {
        any_domain: project_id.is_empty() && domain_id.is_empty(),
        vcpu_count: int(body, "vcpu_count").unwrap_or(1),
        vmem_size: int(body, "vmem_size")
            .ok_or_else(|| err!(MissingParameter, "vmem_size is missing; give it in MiB, or an instance_type"))?,
        disks: disks
            .into_iter()
            .map(|d| DiskWish { size: d.size.max(0), backend: d.backend, storage_id: d.storage_id, medium: d.medium })
            .collect(),
        nets: nets.into_iter().map(|n| NetWish { network_id: n.network, wire_id: n.wire, exit: n.exit, private: n.private }).collect(),
        host_type: match text(&["hypervisor"]).as_str() {
            "kvm" => String::new(),
            "pod" => "container".into(),
            other => other.into(),
        },
        os_arch: text(&["os_arch"]),
        prefer_host: text(&["prefer_host_id", "prefer_host"]),
        prefer_zone: text(&["prefer_zone_id", "prefer_zone"]),
        project_id,
        domain_id,
        ..Request::default()
    })
}

fn wanted_count(body: &Json) -> usize {
    int(body.get("scheduler").unwrap_or(body), "count").unwrap_or(1).clamp(1, 1000) as usize
}

/// How many hosts a test answers when the client does not say.
const SUGGESTIONS: i64 = 100;

impl Scheduler {
    /// `POST /scheduler/{word}`, its explanations in a language; clean-cache and its kin have nothing to do here: the snapshot follows the database by itself.
    pub async fn serve(&self, path: &[&str], body: &Json, lang: Lang) -> Result<Json> {
        match path {
            [] => {
                let wanted = self.understand(body).await?;
                let count = wanted_count(body);
                let (dealt, out) = self.with(|s| deal(s, &wanted, count));
                if dealt.is_empty() {
                    return Err(out.refused(&wanted));
                }
                let mut rows: Vec<Json> = dealt.iter().map(|c| candidate(c, &wanted)).collect();
                // As many as were asked for: those without a place fail alone.
                rows.resize_with(count, || json!({"session_id": "", "host_id": "", "name": "", "error": "Out of resource"}));
                Ok(json!({ "candidates": rows }))
            }
            ["forecast"] => {
                let wanted = self.understand(body).await?;
                let count = wanted_count(body);
                let (dealt, out) = self.with(|s| deal(s, &wanted, count));
                let rows: Vec<Json> = dealt.iter().map(|c| candidate(c, &wanted)).collect();
                let filtered: Vec<Json> = self.with(|s| {
                    let ids: HashMap<&str, &str> = s.hosts().values().map(|h| (h.name.as_str(), h.id.as_str())).collect();
                    let refused = |(host, refusal): &(String, crate::Refusal)| {
                        json!({"id": ids.get(host.as_str()), "name": host, "filter_name": refusal.predicate(), "reasons": [http::i18n::say(&refusal.said(&wanted), lang)]})
                    };
                    out.refusals.iter().filter(|(_, why)| !why.predicate().is_empty()).take(100).map(refused).collect()
                });
                let reasons = if dealt.len() < count { vec![http::i18n::say(&out.explain(&wanted), lang)] } else { vec![] };
                Ok(json!({"candidates": rows, "can_create": dealt.len() >= count, "req_count": count, "allow_count": dealt.len(),
                    "filtered_candidates": filtered, "not_allow_reasons": reasons}))
            }
            ["test"] => {
                let wanted = self.understand(body).await?;
                let limit = int(body, "suggestion_limit").filter(|n| *n > 0).unwrap_or(SUGGESTIONS).min(2048) as usize;
                let out = self.with(|s| place(s, &wanted, limit));
                let names = self.storage_names(&out.candidates).await?;
                let rows: Vec<Json> = self.with(|s| {
                    let known = out.candidates.iter().filter_map(|c| s.hosts().get(&c.host_id).map(|h| (c, h)));
                    known.map(|(c, h)| suggestion(c, h, &wanted, &names)).collect()
                });
                let total = rows.len();
                Ok(json!({"data": rows, "total": total, "limit": limit, "offset": 0}))
            }
            ["candidate-list"] => {
                self.catch_up().await?;
                let limit = int(body, "limit").unwrap_or(20).clamp(1, 2048) as usize;
                let offset = int(body, "offset").unwrap_or(0).max(0) as usize;
                let zone = body.get("zone").and_then(Json::as_str).unwrap_or_default();
                let (rows, total) = self.with(|s| {
                    let fit: Vec<_> = s.hosts().values().filter(|h| zone.is_empty() || h.zone_id == zone).collect();
                    (fit.iter().skip(offset).take(limit).map(|h| describe(h)).collect::<Vec<Json>>(), fit.len())
                });
                Ok(json!({"data": rows, "total": total, "limit": limit, "offset": offset}))
            }
            ["candidate-detail", which] => {
                self.catch_up().await?;
                self.with(|s| {
                    let host = s.hosts().get(*which).or_else(|| s.hosts().values().find(|h| h.name == *which));
                    host.map(|h| json!({"candidate": describe(h)})).ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "host", which))
                })
            }
            ["clean-cache", ..] | ["completed", ..] => Ok(json!({"scheduler": {}})),
            ["cleanup"] => Ok(json!({})),
            ["sync-sku"] => Ok(Json::Null),
            _ => Err(err!(NotFound, "no resource {} here", path.join("/"))),
        }
    }
}

fn candidate(c: &Candidate, r: &Request) -> Json {
    let disks: Vec<Json> = c.storages.iter().enumerate().map(|(i, s)| json!({"index": i, "storage_ids": [s]})).collect();
    json!({"host_id": c.host_id, "name": c.name, "session_id": "", "disks": disks, "nets": nets(c), "cpu": r.vcpu_count, "error": ""})
}

/// How many such servers a host takes.
fn capacity(h: &HostView, r: &Request) -> i64 {
    let cpu = (h.cpu_capacity - h.cpu_commit) / r.vcpu_count.max(1);
    let mem = (h.mem_capacity - h.mem_commit) / r.vmem_size.max(1);
    let disks: i64 = r.disks.iter().map(|d| d.size).sum();
    let room: i64 = h.storages.iter().filter(|s| s.usable).map(|s| s.free / disks.max(1)).sum();
    cpu.min(mem).min(if disks > 0 { room } else { i64::MAX }).max(0)
}

/// One host of a test's answer, with the storages each disk could lie in.
fn suggestion(c: &Candidate, h: &HostView, r: &Request, names: &HashMap<String, String>) -> Json {
    let holds = |s: &&StorageView, d: &DiskWish| {
        s.usable
            && s.free >= d.size
            && (d.storage_id.is_empty() || s.id == d.storage_id)
            && (d.backend.is_empty() || *s.storage_type == *d.backend)
            && (d.medium.is_empty() || *s.medium == *d.medium)
    };
    let disks: Vec<Json> = r
        .disks
        .iter()
        .enumerate()
        .map(|(i, d)| {
            let mut fit: Vec<&StorageView> = h.storages.iter().filter(|s| holds(s, d)).collect();
            fit.sort_by_key(|s| std::cmp::Reverse(s.free));
            let fit: Vec<Json> =
                fit.into_iter().map(|s| json!({"id": s.id, "name": names.get(&s.id).unwrap_or(&s.id), "free_capacity": s.free})).collect();
            json!({"index": i, "storages": fit})
        })
        .collect();
    json!({"id": c.host_id, "name": c.name, "capacity": capacity(h, r), "score": {}, "score_details": format!("capacity:{}", c.score),
        "count": 1, "data": null, "capacity_details": null, "disks": disks, "nets": nets(c)})
}

fn nets(c: &Candidate) -> Vec<Json> {
    c.networks.iter().enumerate().map(|(i, n)| json!({"index": i, "network_ids": [n]})).collect()
}

fn describe(h: &HostView) -> Json {
    let sum = |of: fn(&StorageView) -> i64| h.storages.iter().map(of).sum::<i64>();
    json!({"id": h.id, "name": h.name, "status": h.status, "host_type": *h.host_type,
        "host_status": if h.online { "online" } else { "offline" }, "enable_status": if h.enabled { "enable" } else { "disable" },
        // The spelling is the wire's.
        "cpu": {"free": h.cpu_capacity - h.cpu_commit, "reserverd": h.cpu_reserved, "total": h.cpu_capacity},
        "mem": {"free": h.mem_capacity - h.mem_commit, "reserverd": h.mem_reserved, "total": h.mem_capacity},
        "storage": {"free": sum(|s| s.free), "reserverd": sum(|s| s.reserved), "total": sum(|s| s.total)}, "pending_usage": null})
}

impl Scheduler {
    /// The request of a body, its names resolved, on a snapshot that knows of everything committed before.
    async fn understand(&self, body: &Json) -> Result<Request> {
        self.catch_up().await?;
        let mut wanted = request(body)?;
        let (mine, none) = (wanted.project_id.clone(), String::new());
        for net in &mut wanted.nets {
            net.network_id = self.resolve("network", "networks", &net.network_id, &mine).await?;
            net.wire_id = self.resolve("wire", "wires", &net.wire_id, &none).await?;
        }
        for disk in &mut wanted.disks {
            disk.storage_id = self.resolve("storage", "storages", &disk.storage_id, &none).await?;
        }
        wanted.prefer_host = self.resolve("host", "hosts", &wanted.prefer_host, &none).await?;
        wanted.prefer_zone = self.resolve("zone", "zones", &wanted.prefer_zone, &none).await?;
        Ok(wanted)
    }

    /// The identifier of what is named by it or by its name; of several of one name, the project's own.
    async fn resolve(&self, what: &str, table: &'static str, which: &str, project: &str) -> Result<String> {
        if which.is_empty() {
            return Ok(String::new());
        }
        let by_name = |more: Cond| {
            let named = Cond::eq("id", which).or(Cond::eq("name", which));
            Select::from(table).column("id", Kind::Text).filter(Cond::eq("deleted", false).and(named).and(more))
        };
        let mut db = self.db();
        let mut found = db.rows(&by_name(Cond::True)).await?;
        if found.len() > 1 && !project.is_empty() {
            found = db.rows(&by_name(Cond::eq("tenant_id", project))).await?;
        }
        match found.as_slice() {
            [one] => Ok(one[0].as_str().to_string()),
            [] => Err(err!(ResourceNotFound, "{} {} not found", what, which)),
            several => Err(err!(InputParameter, "{} {} names {} at once; use an id", what, which, several.len())),
        }
    }

    async fn storage_names(&self, candidates: &[Candidate]) -> Result<HashMap<String, String>> {
        let ids: Vec<String> = self.with(|s| {
            let hosts = candidates.iter().filter_map(|c| s.hosts().get(&c.host_id));
            hosts.flat_map(|h| h.storages.iter().map(|s| s.id.clone())).collect()
        });
        let select = Select::from("storages").column("id", Kind::Text).column("name", Kind::Text);
        let mut db = self.db();
        let rows = db.rows(&select.filter(Cond::is_in("id", ids))).await?;
        Ok(rows.into_iter().map(|r| (r[0].as_str().to_string(), r[1].as_str().to_string())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_tells_what_it_has_and_what_is_left() {
        let storage = |free, total, reserved| StorageView { free, total, reserved, ..StorageView::default() };
        let host = HostView { storages: vec![storage(5, 10, 1), storage(7, 20, 0)], ..HostView::default() };
        assert_eq!(describe(&host)["storage"], json!({"free": 12, "reserverd": 1, "total": 30}));
    }
}
