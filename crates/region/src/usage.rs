//! Usages: flat counters of what there is, by scope (spec 01 §14).

use crate::Region;
use base::{Ctx, Json, Kind, Result, Scope, err};
use resource::Ask;
use store::{Cond, Pick, Read, Select};

const PER_ROUND: usize = 50;

impl Region {
    /// `GET /usages?scope=`
    pub(crate) async fn usages(&self, ctx: &Ctx, scope: Option<&str>) -> Result<Json> {
        if ctx.caller.is_guest() {
            return Err(err!(Unauthorized, "no valid token; log in"));
        }
        let ask = Ask { service: "compute", resource: "usages", action: "get", extra: &[] };
        let widest = self.gate.widest(&ctx.caller, ctx.peer, &ask);
        let asked = match scope {
            None => widest,
            Some(word) => {
                Scope::parse(word).ok_or_else(|| err!(InputParameter, "scope {} is unknown; use system, domain, project or user", word))?
            }
        };
        if asked > widest || widest == Scope::None {
            return Err(resource::denied(ctx, &ask, asked.max(Scope::Project)));
        }
        let mut out = serde_json::Map::new();
        for (at, prefix) in [(Scope::System, "all."), (Scope::Domain, "domain."), (Scope::Project, "")] {
            if at <= asked {
                self.count(ctx, at, prefix, &mut out).await?;
            }
        }
        Ok(serde_json::json!({ "usage": out }))
    }

    async fn count(&self, ctx: &Ctx, scope: Scope, prefix: &str, out: &mut serde_json::Map<String, Json>) -> Result<()> {
        let mut db = &self.engine.db;
        let own = |level: Scope| match scope.min(level) {
            Scope::System => Cond::True,
            Scope::Domain => Cond::eq("domain_id", ctx.caller.project_domain_id.as_str()),
            _ => Cond::eq("tenant_id", ctx.caller.project_id.as_str()),
        };
        let mut put = |key: &str, n: i64| out.insert(format!("{prefix}{key}"), Json::from(n));
        let live = || Cond::eq("deleted", false);
        let servers = Select::from("servers")
            .column("status", Kind::Text)
            .column("pending_deleted", Kind::Bool)
            .pick(Pick::Count)
            .pick(Pick::Sum("vcpu_count".into()))
            .pick(Pick::Sum("vmem_size".into()))
            .filter(live().and(own(Scope::System)))
            .group_by("status")
            .group_by("pending_deleted");
        let mut sums = [[0i64; 3]; 4];
        for row in db.rows(&servers).await? {
            let group = match (row[1].as_bool(), row[0].as_str()) {
                (Some(true), _) => 3,
                (_, "running") => 1,
                (_, "ready") => 2,
                _ => 0,
            };
            for (i, n) in row[2..5].iter().enumerate() {
                sums[group][i] += n.as_int().unwrap_or(0);
            }
        }
        for (name, groups) in
            [("servers", &[0, 1, 2][..]), ("running_servers", &[1]), ("ready_servers", &[2]), ("pending_delete_servers", &[3])]
        {
            for (suffix, i) in [("", 0), (".cpu", 1), (".memory", 2)] {
                put(&format!("{name}{suffix}"), groups.iter().map(|g| sums[*g][i]).sum());
            }
        }
        put("disks.count", db.count("disks", live().and(own(Scope::System))).await?);
        put("disks", db.sum("disks", "disk_size", live().and(own(Scope::System))).await?);
        put("networks", db.count("networks", live().and(own(Scope::System))).await?);
        if scope >= Scope::Domain {
            for (key, table) in [("hosts", "hosts"), ("wires", "wires"), ("vpcs", "vpcs"), ("storages.count", "storages")] {
                put(key, db.count(table, live().and(own(Scope::System))).await?);
            }
            put("enabled_hosts", db.count("hosts", live().and(own(Scope::System)).and(Cond::eq("enabled", true))).await?);
            for (key, column) in [
                ("hosts.cpu", "cpu_count"),
                ("hosts.memory", "mem_size"),
                ("hosts.cpu.commit", "cpu_commit"),
                ("hosts.memory.commit", "mem_commit"),
            ] {
                put(key, db.sum("hosts", column, live().and(own(Scope::System))).await?);
            }
            put("storages", db.sum("storages", "capacity", live().and(own(Scope::System))).await?);
        }
        if scope == Scope::System {
            put("zones", db.count("zones", live()).await?);
            put("cloudregions", db.count("cloudregions", live()).await?);
        }
        Ok(())
    }

    /// Deletes for good what lay in the recycle bin long enough.
    pub async fn empty_bin(&self) -> Result<()> {
        let ctx = Ctx::platform("recycle-bin");
        let before = self.engine.clock.now().plus_secs(-i64::try_from(self.keep_deleted.as_secs()).unwrap_or(i64::MAX));
        for plural in ["servers", "disks"] {
            let Some(kind) = self.engine.kind(plural) else { continue };
            let old = Cond::eq("deleted", false).and(Cond::eq("pending_deleted", true)).and(Cond::cmp(
                "pending_deleted_at",
                store::Op::Lt,
                before,
            ));
            let mut db = &self.engine.db;
            for row in db.find(kind.facts, old).await?.into_iter().take(PER_ROUND) {
                if let Err(e) = self.engine.remove(&ctx, kind, row.id()).await {
                    tracing::warn!(kind = plural, id = row.id(), error = %e, "a row in the recycle bin could not be deleted");
                }
            }
        }
        Ok(())
    }
}
