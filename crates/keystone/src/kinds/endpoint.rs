//! Endpoints of services.

use super::enabled_unless_said;
use crate::state::State;
use api_identity::{Endpoint, INTERFACES, Region};
use base::{Error, Resource, Result, Row, err};
use resource::{BoxFuture, Hooks, Kind, Map, Naming, Op, Page};
use std::sync::Arc;
use store::{Cond, Read};

struct EndpointHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<Endpoint, _>(&Arc::new(EndpointHooks { state: state.clone() })).naming(Naming::Free).done()
}

fn check_interface(row: &Row) -> Result<()> {
    if !INTERFACES.contains(&row.text("interface")) {
        return Err(err!(InputParameter, "{}: {} is none of {}", "interface", row.text("interface"), INTERFACES.join(", ")));
    }
    let url = row.text("url");
    if !url.is_empty() && !["http://", "https://"].iter().any(|s| url.starts_with(s) && url.len() > s.len()) {
        return Err(err!(InputParameter, "url: {} is not an address; use the form https://host:port/path", url));
    }
    Ok(())
}

impl Hooks for EndpointHooks {
    fn create<'a>(&'a self, _op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            enabled_unless_said(body, row);
            check_interface(row)?;
            let mut db = self.state.db.read();
            let region = row.text("region_id").to_string();
            if region.is_empty() {
                return Err(err!(MissingParameter, "{} is missing", "region_id"));
            }
            if db.one(Region::facts(), &region).await?.is_none_or(|r| r.flag("deleted")) {
                return Err(err!(ResourceNotFound, "{} {} not found", "region", region));
            }
            if row.name().is_empty() {
                let kind = db.scalar_text("services", "type", Cond::eq("id", row.text("service_id"))).await?.unwrap_or_default();
                let name = format!("{kind}-{}", row.text("interface"));
                row.set("name", name);
            }
            Ok(())
        })
    }

    fn update<'a>(&'a self, _op: &'a Op<'a>, _old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { check_interface(row) })
    }

    fn deletable<'a>(&'a self, _op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        let refusal =
            |row: &Row| row.flag("enabled").then(|| err!(InvalidStatus, "the endpoint {} is enabled; disable it first", row.name()));
        Box::pin(async move { Ok(rows.iter().map(refusal).collect()) })
    }

    fn view<'a>(&'a self, _op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if !page.details {
                return Ok(());
            }
            let services = self.state.db.read().find(api_identity::Service::facts(), Cond::is_in("id", page.ids("service_id"))).await?;
            for i in 0..page.rows.len() {
                if let Some(service) = services.iter().find(|s| s.id() == page.rows[i].text("service_id")) {
                    page.add(i, "service_name", service.name());
                    page.add(i, "service_type", service.text("type"));
                }
            }
            Ok(())
        })
    }
}
