//! The engine of one service: its kinds, its database, and who decides.

use crate::{Allowance, Answer, Bound, Gate, Kind, Owners, Params, crowd::Crowd, event, list, view::Answers};
use base::{Clock, Ctx, Facts, Level, Result, Row, err};
use std::{collections::HashMap, sync::Arc};
use store::{Cond, Db, Read, Select};

/// What a service may set.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows of a list when no limit is asked for, and the most one page has.
    pub page_max: u64,
    /// Whether deleting puts a row into the recycle bin first.
    pub recycle: bool,
    /// Version string for messages that name it.
    pub version: String,
    /// What the installation may have; any number of anything without.
    pub allowance: Option<Arc<dyn Allowance>>,
}

impl Default for Options {
    fn default() -> Self {
        Options { page_max: 2048, recycle: true, version: String::new(), allowance: None }
    }
}

pub struct Engine {
    /// Service type: the first word of a permission.
    pub service: &'static str,
    pub db: Db,
    pub clock: Clock,
    pub options: Options,
    pub(crate) gate: Arc<dyn Gate>,
    pub owners: Arc<dyn Owners>,
    kinds: Vec<Kind>,
    by_plural: HashMap<&'static str, usize>,
    by_name: HashMap<&'static str, usize>,
    /// Shows on their way.
    pub(crate) crowd: Arc<Crowd<Vec<u8>>>,
}

/// One operation on its way through the engine.
#[derive(Clone, Copy)]
pub struct Op<'a> {
    pub ctx: &'a Ctx,
    pub engine: &'a Engine,
    pub kind: &'a Kind,
    pub params: &'a Params,
}

impl Engine {
    /// Bounds of what may be made, asked before the transaction that makes it.
    ///
    /// # Errors
    /// `RequireLicense` when nothing new may be made.
    pub async fn allowed(&self) -> Result<Vec<Bound>> {
        match &self.options.allowance {
            Some(allowance) => allowance.in_force().await,
            None => Ok(Vec::new()),
        }
    }

    pub fn new(
        service: &'static str,
        db: Db,
        clock: Clock,
        gate: Arc<dyn Gate>,
        owners: Arc<dyn Owners>,
        mut kinds: Vec<Kind>,
        options: Options,
    ) -> Engine {
        kinds.push(event::kind());
        let by = |f: fn(&Kind) -> &'static str| {
            let mut map = HashMap::new();
            for (i, kind) in kinds.iter().enumerate() {
                assert!(map.insert(f(kind), i).is_none(), "two kinds named {}", f(kind));
            }
            map
        };
        let (by_plural, by_name) = (by(|k| k.facts.plural), by(|k| k.facts.name));
        // Fewer than there are processors need no company.
        let crowd = Crowd::new(std::thread::available_parallelism().map_or(1, usize::from));
        Engine { service, db, clock, options, gate, owners, kinds, by_plural, by_name, crowd }
    }

    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }
    pub fn kind(&self, plural: &str) -> Option<&Kind> {
        self.by_plural.get(plural).map(|&i| &self.kinds[i])
    }
    /// Who decides.
    pub fn gate(&self) -> &dyn Gate {
        self.gate.as_ref()
    }
    /// By singular keyword.
    pub fn kind_named(&self, name: &str) -> Option<&Kind> {
        self.by_name.get(name).map(|&i| &self.kinds[i])
    }

    /// A row by id or name among those of `cond`; an id wins over a name, a row of the caller's own project over another's.
    pub(crate) async fn lookup(&self, ctx: &Ctx, kind: &Kind, which: &str, cond: Cond) -> Result<Row> {
        let facts = kind.facts;
        let alive = alive(facts).and(cond);
        let mut db = &self.db;
        if let Some(row) = db.find(facts, Cond::eq("id", which).and(alive.clone())).await?.pop() {
            return Ok(row);
        }
        if facts.has("name") && !which.is_empty() {
            let mut rows = db.find(facts, Cond::eq("name", which).and(alive)).await?;
            if rows.len() > 1 && facts.has("pending_deleted") && rows.iter().any(|r| !r.flag("pending_deleted")) {
                rows.retain(|r| !r.flag("pending_deleted"));
            }
            if rows.len() > 1 && facts.has("tenant_id") && rows.iter().any(|r| r.text("tenant_id") == ctx.caller.project_id) {
                rows.retain(|r| r.text("tenant_id") == ctx.caller.project_id);
            }
            let home = ctx.caller.project_domain_id.as_str();
            if rows.len() > 1 && facts.level == Level::Domain && rows.iter().any(|r| r.text("domain_id") == home) {
                rows.retain(|r| r.text("domain_id") == home);
            }
            if rows.len() > 1 {
                return Err(err!(DuplicateResource, "several {} are named {}; give the id", facts.plural, which));
            }
            if let Some(row) = rows.pop() {
                return Ok(row);
            }
        }
        Err(err!(ResourceNotFound, "{} {} not found", facts.name, which))
    }

    /// The rows of these ids among those of `cond`, and the answers to what else is asked of the same moment.
    pub(crate) async fn with(&self, kind: &Kind, ids: &[&str], cond: Cond, asks: Vec<Select>) -> Result<(Vec<Row>, Answers)> {
        let facts = kind.facts;
        let mut all = vec![Select::whole(facts).filter(Cond::is_in("id", ids.iter().copied()).and(alive(facts)).and(cond))];
        all.extend(asks);
        let mut db = &self.db;
        let mut answers = db.together(&all).await?;
        let rows = answers.remove(0).into_iter().map(|values| Row { facts, values }).collect();
        Ok((rows, answers))
    }

    /// A row another resource's body or parameter refers to: by id or name, visible to the caller.
    pub async fn resolve(&self, ctx: &Ctx, name: &str, which: &str) -> Result<Row> {
        let kind = self.kind_named(name).ok_or_else(|| base::Error::internal(format!("no kind {name} in {}", self.service)))?;
        let (get, list) = (self.rights(ctx, kind, "get", &[]), self.rights(ctx, kind, "list", &[]));
        self.lookup(ctx, kind, which, self.seen(ctx, kind, &get).or(self.seen(ctx, kind, &list))).await
    }

    /// A list of a kind, narrowed by a condition: for paths that a service adds to the engine's own.
    pub async fn list_within(&self, ctx: &Ctx, plural: &str, params: &Params, within: Cond) -> Result<Answer> {
        let kind = self.kind(plural).ok_or_else(|| base::Error::internal(format!("no kind {plural} in {}", self.service)))?;
        list::list(&Op { ctx, engine: self, kind, params }, within).await
    }
}

/// Rows that are not deleted for good.
pub(crate) fn alive(facts: &Facts) -> Cond {
    if facts.has("deleted") { Cond::eq("deleted", false) } else { Cond::True }
}
