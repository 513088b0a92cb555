//! Runs the generated commands.

use crate::{
    body,
    catalog::{self, Resource, Service},
    fail::{Fail, Result},
    output,
    session::{Session, segment},
};
use clap::ArgMatches;
use http::Method;
use serde_json::{Map, Value as Json, json};

/// Rows per request when everything is read.
const PAGE: u64 = 500;

pub async fn run(name: &str, verb: &str, matches: &ArgMatches) -> Result<()> {
    let resource = catalog::resource(name).ok_or_else(|| Fail::usage(format!("there is no {name}")))?;
    let service = body::text(matches, "service").and_then(Service::from_word).unwrap_or(resource.services[0]);
    let session = Session::open(matches).await?;
    let desk = Desk { resource, service, session, matches };
    match verb {
        "list" => desk.list().await,
        "show" => desk.show("").await,
        "create" => desk.create().await,
        "update" => desk.update().await,
        "delete" => desk.delete().await,
        _ if matches.try_get_many::<String>("pair").is_ok_and(|p| p.is_some()) => desk.tags(verb).await,
        _ => match resource.actions.iter().find(|a| a.name == verb) {
            Some(action) => desk.act(verb, &action.inputs).await,
            None => desk.show(verb.strip_prefix("show-").unwrap_or(verb)).await,
        },
    }
}

struct Desk<'a> {
    resource: &'static Resource,
    service: Service,
    session: Session,
    matches: &'a ArgMatches,
}

impl Desk<'_> {
    fn class(&self) -> String {
        format!("/{}", self.resource.plural)
    }

    fn single(&self, id: &str) -> String {
        format!("/{}/{}", self.resource.plural, segment(id))
    }

    fn id(&self) -> &str {
        body::text(self.matches, "id").unwrap_or_default()
    }

    /// What is under the resource's keyword.
    fn inner(&self, mut answer: Json) -> Json {
        match answer.get_mut(&self.resource.name) {
            Some(inner) => inner.take(),
            None => answer,
        }
    }

    async fn list(&self) -> Result<()> {
        let query = body::query(self.resource, self.matches);
        let limit = self.matches.get_one::<u64>("limit").copied().unwrap_or(0);
        let start = self.matches.get_one::<u64>("offset").copied().unwrap_or(0);
        let mut rows: Vec<Json> = Vec::new();
        let mut total;
        loop {
            let mut page = query.clone();
            page.retain(|(k, _)| k != "offset");
            let ask = if limit == 0 { PAGE } else { limit };
            page.push(("limit".into(), ask.to_string()));
            page.push(("offset".into(), (start + rows.len() as u64).to_string()));
            let mut answer = self.session.get(self.service, &self.class(), &page).await?;
            total = answer["total"].as_u64().unwrap_or(0);
            let got = match answer.get_mut(&self.resource.plural).map(Json::take) {
                Some(Json::Array(got)) => got,
                _ => return Err(Fail::usage(format!("the answer has no {}", self.resource.plural))),
            };
            let ended = got.is_empty();
            rows.extend(got);
            if limit > 0 || ended || start + rows.len() as u64 >= total {
                break;
            }
        }
        output::list(self.matches, &self.resource.plural, &rows)?;
        let seen = start + rows.len() as u64;
        if total > seen {
            eprintln!("{} of {total} shown; --limit 0 shows all", rows.len());
        }
        Ok(())
    }

    async fn show(&self, property: &str) -> Result<()> {
        let mut path = self.single(self.id());
        if !property.is_empty() {
            path = format!("{path}/{property}");
        }
        let answer = self.session.get(self.service, &path, &[]).await?;
        output::one(self.matches, &self.inner(answer))
    }

    async fn create(&self) -> Result<()> {
        let fields = body::fields(self.resource.create.as_deref().unwrap_or_default(), self.matches)?;
        let answer = self.session.post(self.service, &self.class(), &self.wrap(fields)).await?;
        output::one(self.matches, &self.inner(answer))
    }

    async fn update(&self) -> Result<()> {
        let fields = body::fields(self.resource.update.as_deref().unwrap_or_default(), self.matches)?;
        if fields.is_empty() {
            return Err(Fail::usage(format!("name a field to change; `wolke {} update --help` lists them", self.resource.word())));
        }
        let call = self.session.call(self.service, Method::PUT, &self.single(self.id()))?.json(&self.wrap(fields));
        let answer = self.session.json(call).await?;
        output::one(self.matches, &self.inner(answer))
    }

    fn wrap(&self, fields: Map<String, Json>) -> Json {
        json!({ self.resource.name.as_str(): fields })
    }

    async fn delete(&self) -> Result<()> {
        let mut done = Many::default();
        for id in body::many(self.matches, "id") {
            let mut call = self.session.call(self.service, Method::DELETE, &self.single(id))?;
            for (option, key) in [("override-pending-delete", "override_pending_delete"), ("purge", "purge")] {
                if body::flag(self.matches, option) {
                    call = call.query(key, "true");
                }
            }
            done.add(id, self.session.json(call).await.map(|answer| self.inner(answer)));
        }
        done.tell(self)
    }

    async fn act(&self, action: &str, inputs: &[catalog::Field]) -> Result<()> {
        let body = self.wrap(body::fields(inputs, self.matches)?);
        let mut done = Many::default();
        for id in body::many(self.matches, "id") {
            let answer = self.session.post(self.service, &format!("{}/{action}", self.single(id)), &body).await;
            done.add(id, answer.map(|answer| self.inner(answer)));
        }
        done.tell(self)
    }

    async fn tags(&self, action: &str) -> Result<()> {
        let mut tags = Map::new();
        for pair in body::many(self.matches, "pair") {
            let (key, value) = pair.split_once('=').ok_or_else(|| Fail::usage(format!("{pair}: write KEY=VALUE")))?;
            tags.insert(key.to_string(), Json::from(value));
        }
        let path = format!("{}/{action}", self.single(self.id()));
        let answer = self.session.post(self.service, &path, &self.wrap(tags)).await?;
        output::one(self.matches, &self.inner(answer))
    }
}

/// Outcomes on several objects: each is tried, and the command fails if one did.
#[derive(Default)]
struct Many {
    answers: Vec<Json>,
    failed: Vec<(String, Fail)>,
}

impl Many {
    fn add(&mut self, id: &str, outcome: Result<Json>) {
        match outcome {
            Ok(answer) => self.answers.push(answer),
            Err(fail) => self.failed.push((id.to_string(), fail)),
        }
    }

    fn tell(mut self, desk: &Desk<'_>) -> Result<()> {
        if self.answers.len() + self.failed.len() == 1 {
            return match self.failed.pop() {
                Some((_, fail)) => Err(fail),
                None => output::one(desk.matches, &self.answers.remove(0)),
            };
        }
        if !self.answers.is_empty() {
            output::list(desk.matches, &desk.resource.plural, &self.answers)?;
        }
        if self.failed.is_empty() {
            return Ok(());
        }
        let all = self.answers.len() + self.failed.len();
        for (id, fail) in &self.failed {
            eprintln!("{id}: {}", fail.to_string().trim_start_matches("wolke: "));
        }
        Err(Fail::usage(format!("{} of {all} failed", self.failed.len())))
    }
}
