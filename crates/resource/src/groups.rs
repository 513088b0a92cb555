//! Rows in groups that no column tells: by the name of their project or domain, by the value of one of their tags. Lists order by them
//! (`order_by_project`, `order_by_domain`, `order_by_tag`), and trees of tags count them (spec 01 §3.1, §3.4).
//!
//! Names of owners are in memory and tags in another table, so a list is read group by group: those before the page are only counted.

use crate::{Engine, Kind, Map, engine::Op};
use base::{Facts, Json, Kind as Cell, Result, Row, err};
use store::{Cond, Order, Pick, Read, Select};

/// Stands for rows without the tag, as in filters.
const NONE: &str = "___no_value__";

/// Nodes of one tree of tags.
const MOST_NODES: usize = 2000;

/// The rows of a condition that belong together.
struct Group {
    cond: Cond,
    /// What it is ordered by.
    name: String,
    count: u64,
}

/// The page of a list that is ordered by what no column tells; `None` when it is not asked for.
pub(crate) async fn page(op: &Op<'_>, cond: &Cond, order: Vec<Order>, limit: u64, offset: u64) -> Result<Option<Vec<Row>>> {
    let facts = op.kind.facts;
    let owner = [("order_by_project", "tenant_id"), ("order_by_domain", "domain_id")]
        .into_iter()
        .filter(|(_, column)| facts.has(column))
        .find_map(|(key, column)| op.params.text(key).map(|how| (column, how)));
    let (mut groups, how) = if let Some((column, how)) = owner {
        (by_owner(op, cond, column).await?, how)
    } else if let Some(key) = op.params.text("order_by_tag").filter(|key| !key.is_empty()) {
        (by_tag(op.engine, op.kind, cond, &key).await?, String::new())
    } else {
        return Ok(None);
    };
    // `order_by_project=desc`, or the order of the whole list.
    let word = if how.is_empty() || how == "true" { op.params.text("order").unwrap_or_default() } else { how };
    if word.eq_ignore_ascii_case("desc") {
        groups.reverse();
    }
    let (mut rows, mut before) = (Vec::new(), offset);
    let mut db = &op.engine.db;
    for group in groups {
        let left = limit - rows.len() as u64;
        if left == 0 {
            break;
        }
        if group.count <= before {
            before -= group.count;
            continue;
        }
        rows.extend(db.page(facts, cond.clone().and(group.cond), order.clone(), left, before).await?);
        before = 0;
    }
    Ok(Some(rows))
}

/// By the names of projects or domains; what has no owner comes first.
async fn by_owner(op: &Op<'_>, cond: &Cond, column: &'static str) -> Result<Vec<Group>> {
    let select = Select::from(op.kind.facts.table).column(column, Cell::Text).pick(Pick::Count).filter(cond.clone()).group_by(column);
    let mut db = &op.engine.db;
    let owners = &op.engine.owners;
    let mut groups: Vec<Group> = Vec::new();
    for row in db.rows(&select).await? {
        let id = row[0].as_str();
        let owner = if column == "tenant_id" { owners.project(id).map(|o| o.project) } else { owners.domain(id).map(|o| o.domain) };
        let cond = if row[0].is_null() { Cond::IsNull(column.into()) } else { Cond::eq(column, id) };
        groups.push(Group { cond, name: owner.unwrap_or_default(), count: row[1].as_int().unwrap_or(0) as u64 });
    }
    // Projects of one name in several domains lie beside each other, always in the same order.
    groups.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| format!("{:?}", a.cond).cmp(&format!("{:?}", b.cond))));
    Ok(groups)
}

fn tagged(facts: &Facts, key: &str, value: Option<&str>) -> Cond {
    let mut pair = Cond::eq("obj_type", facts.name).and(Cond::eq("key", key));
    if let Some(value) = value {
        pair = pair.and(Cond::eq("value", value));
    }
    Cond::in_select("id", Select::from("metadata").column("obj_id", Cell::Text).filter(pair))
}

/// By the values of a tag; what does not have it comes last, under [`NONE`].
async fn by_tag(engine: &Engine, kind: &Kind, cond: &Cond, key: &str) -> Result<Vec<Group>> {
    let facts = kind.facts;
    let mut db = &engine.db;
    let total = db.count(facts.table, cond.clone()).await? as u64;
    if key.starts_with("__") {
        // Bookkeeping: nobody's business.
        return Ok(vec![Group { cond: Cond::True, name: NONE.into(), count: total }]);
    }
    let ids = Select::from(facts.table).column("id", Cell::Text).filter(cond.clone());
    let pair = Cond::eq("obj_type", facts.name).and(Cond::eq("key", key)).and(Cond::in_select("obj_id", ids));
    let select =
        Select::from("metadata").column("value", Cell::Text).pick(Pick::Count).filter(pair).group_by("value").order(Order::asc("value"));
    let mut groups: Vec<Group> = Vec::new();
    for row in db.rows(&select).await? {
        let value = row[0].as_str();
        groups.push(Group { cond: tagged(facts, key, Some(value)), name: value.into(), count: row[1].as_int().unwrap_or(0) as u64 });
    }
    let without = total.saturating_sub(groups.iter().map(|g| g.count).sum());
    if without > 0 {
        groups.push(Group { cond: tagged(facts, key, None).not(), name: NONE.into(), count: without });
    }
    Ok(groups)
}

/// `GET /{kind}/tag-value-tree?key=a&key=b`: how many rows have each value of the first key, of these each of the second, and so on.
pub(crate) async fn tree(op: &Op<'_>, cond: Cond) -> Result<Json> {
    let keys: Vec<String> = ["key", "keys"].iter().flat_map(|k| op.params.all(k)).collect();
    if keys.is_empty() {
        return Err(err!(MissingParameter, "{} is missing", "key"));
    }
    // Breadth first: a level is done before the next one, and no call is deep in itself.
    struct Node {
        above: Option<usize>,
        key: String,
        name: String,
        count: u64,
        cond: Cond,
    }
    let mut db = &op.engine.db;
    let count = db.count(op.kind.facts.table, cond.clone()).await? as u64;
    let mut nodes = vec![Node { above: None, key: String::new(), name: String::new(), count, cond }];
    let mut level = 0..1;
    for key in &keys {
        let next = nodes.len();
        for above in level {
            let cond = nodes[above].cond.clone();
            for group in by_tag(op.engine, op.kind, &cond, key).await? {
                if nodes.len() > MOST_NODES {
                    return Err(err!(OutOfLimit, "key: the tree has more than {} nodes; ask for fewer keys", MOST_NODES));
                }
                let cond = cond.clone().and(group.cond);
                nodes.push(Node { above: Some(above), key: key.clone(), name: group.name, count: group.count, cond });
            }
        }
        level = next..nodes.len();
    }
    // From the leaves to the root; those of one level are met in reverse.
    let mut children: Vec<Vec<Json>> = nodes.iter().map(|_| Vec::new()).collect();
    for (i, node) in nodes.iter().enumerate().rev() {
        let mut below = std::mem::take(&mut children[i]);
        below.reverse();
        let mut told = Map::new();
        told.insert("key".into(), node.key.as_str().into());
        told.insert("value".into(), node.name.as_str().into());
        told.insert("count".into(), node.count.into());
        if !below.is_empty() {
            told.insert("children".into(), below.into());
        }
        match node.above {
            Some(above) => children[above].push(Json::Object(told)),
            None => return Ok(Json::Object(told)),
        }
    }
    Ok(Json::Null)
}
