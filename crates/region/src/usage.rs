//! Usages: flat counters of what there is, by scope (spec 01 §14). Who may ask, and of which part of the cloud; [`tally`] counts.

mod tally;

use crate::Region;
use base::{Ctx, Json, Kind, Result, Scope, err};
use resource::Ask;
use store::{Cond, Read, Select};

const PER_ROUND: usize = 50;

/// The part of the cloud that is counted, as conditions on its places.
pub(crate) enum Within {
    Everywhere,
    CloudRegion(String),
    Zone(String),
    Wire(String),
    Host(String),
}

fn ids(table: &'static str, column: &'static str, cond: Cond) -> Select {
    Select::from(table).column(column, Kind::Text).filter(cond.and(Cond::eq("deleted", false)))
}

impl Within {
    fn whole(&self) -> bool {
        matches!(self, Within::Everywhere)
    }

    /// Rows that name their zone.
    fn zoned(&self) -> Option<Cond> {
        match self {
            Within::Zone(id) => Some(Cond::eq("zone_id", id.as_str())),
            Within::CloudRegion(id) => Some(Cond::in_select("zone_id", ids("zones", "id", Cond::eq("cloudregion_id", id.as_str())))),
            _ => None,
        }
    }

    fn hosts(&self) -> Cond {
        match self {
            Within::Host(id) => Cond::eq("id", id.as_str()),
            Within::Wire(id) => Cond::in_select("id", ids("netinterfaces", "host_id", Cond::eq("wire_id", id.as_str()))),
            _ => self.zoned().unwrap_or(Cond::True),
        }
    }

    fn storages(&self) -> Cond {
        match self {
            Within::Host(_) | Within::Wire(_) => {
                let hosts = Cond::in_select("host_id", ids("hosts", "id", self.hosts()));
                Cond::in_select("id", ids("hoststorages", "storage_id", hosts))
            }
            _ => self.zoned().unwrap_or(Cond::True),
        }
    }

    fn wires(&self) -> Cond {
        match self {
            Within::Wire(id) => Cond::eq("id", id.as_str()),
            Within::Host(id) => Cond::in_select("id", ids("netinterfaces", "wire_id", Cond::eq("host_id", id.as_str()))),
            _ => self.zoned().unwrap_or(Cond::True),
        }
    }

    fn vpcs(&self) -> Cond {
        match self {
            Within::Everywhere => Cond::True,
            Within::CloudRegion(id) => Cond::eq("cloudregion_id", id.as_str()),
            _ => Cond::in_select("id", ids("wires", "vpc_id", self.wires())),
        }
    }

    /// Rows whose column names one of these places; all rows where there is no bound.
    fn lying(&self, column: &'static str, table: &'static str, places: Cond) -> Cond {
        if self.whole() { Cond::True } else { Cond::in_select(column, ids(table, "id", places)) }
    }
}

impl Region {
    /// `GET /usages?scope=` and `GET /usages/{zones|wires|hosts|cloudregions}/{id}?scope=`.
    ///
    /// # Errors
    /// A scope wider than the caller's; a place he does not see, or of a kind that is not here.
    pub async fn usages(&self, ctx: &Ctx, scope: Option<&str>, of: Option<(&str, &str)>) -> Result<Json> {
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
        let within = match of {
            None => Within::Everywhere,
            Some((plural, which)) => {
                let (name, make): (_, fn(String) -> Within) = match plural {
                    "cloudregions" => ("cloudregion", Within::CloudRegion),
                    "zones" => ("zone", Within::Zone),
                    "wires" => ("wire", Within::Wire),
                    "hosts" => ("host", Within::Host),
                    other => return Err(err!(NotFound, "no usages of {} here; use {}", other, "cloudregions, zones, wires or hosts")),
                };
                make(self.engine.resolve(ctx, name, which).await?.id().to_string())
            }
        };
        let out = tally::count(&self.engine, ctx, asked, &within).await?;
        Ok(serde_json::json!({ "usage": out }))
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
