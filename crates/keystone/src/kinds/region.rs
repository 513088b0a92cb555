//! Regions of the catalogue. Their identifiers are words people choose.

use super::{alive, count_of, counts, ids};
use api_identity::Region;
use base::{Error, Json, Result, Row, err};
use resource::{BoxFuture, Extra, Hooks, Kind, Map, Naming, Op, Page, check_name};
use std::sync::Arc;

struct RegionHooks;

pub fn kind() -> Kind {
    // The name is the identifier, and that is unique by itself.
    Kind::new::<Region, _>(&Arc::new(RegionHooks)).extras(EXTRAS).naming(Naming::Free).done()
}

const EXTRAS: &[Extra] = &[Extra::create("id", base::Kind::Text, "The word it is known by; the name when left out.")];

impl Hooks for RegionHooks {
    fn create<'a>(&'a self, _op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let id = resource::text(body, &["id", "name"]).ok_or_else(|| err!(MissingParameter, "{} is missing", "id"))?;
            check_name(&id)?;
            row.set("id", id.as_str());
            row.set("name", id);
            Ok(())
        })
    }

    fn update<'a>(&'a self, _op: &'a Op<'a>, old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if old.name() != row.name() {
                return Err(err!(InputParameter, "the name of a region is its identifier and cannot be changed"));
            }
            Ok(())
        })
    }

    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let n = counts(&op.engine.db, "endpoints", "region_id", &ids(rows), alive()).await?;
            let refusal = |row: &Row| {
                (count_of(&n, row.id()) > 0)
                    .then(|| err!(NotEmpty, "the region {} has {} endpoints; delete them first", row.id(), count_of(&n, row.id())))
            };
            Ok(rows.iter().map(refusal).collect())
        })
    }

    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if page.details {
                let n = counts(&op.engine.db, "endpoints", "region_id", &ids(&page.rows), alive()).await?;
                for i in 0..page.rows.len() {
                    let id = page.rows[i].id().to_string();
                    page.add(i, "endpoint_count", Json::from(count_of(&n, &id)));
                }
            }
            Ok(())
        })
    }
}
