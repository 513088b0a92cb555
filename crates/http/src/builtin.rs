//! What every service answers besides its own routes (spec 01 §10.1).
//!
//! Existing services answer these only to known User-Agents and 403 to everybody else, `curl` included. Ours answer everybody: nothing here is
//! secret, probes of any make work, and clients that were let in before still are.

use crate::{App, Request, Response, Router, stats};
use hyper::{Method, header::HeaderValue};
use serde_json::json;
use std::sync::{Arc, Weak};
use telemetry::Metrics;

pub(crate) fn add(router: &mut Router, app: &Weak<App>, service: &Arc<str>, metrics: &Metrics) {
    let mut put = |method: Method, pattern: &str, answer: Arc<dyn Fn() -> Response + Send + Sync>| {
        if !router.has(&method, pattern) {
            let handler = move |_: Request| {
                let answer = answer.clone();
                async move { Ok(answer()) }
            };
            router.add(method, pattern, Arc::new(handler));
        }
    };
    let ping: Arc<dyn Fn() -> Response + Send + Sync> = Arc::new(|| Response::text("pong"));
    put(Method::GET, "/ping", ping.clone());
    put(Method::POST, "/ping", ping);
    put(Method::GET, "/version", Arc::new(|| Response::text(telemetry::version())));
    put(
        Method::GET,
        "/process_stats",
        Arc::new(|| {
            let s = telemetry::process::stats();
            Response::json(&json!({"process_stats": {
                "cpu_percent": s.cpu_percent, "mem_percent": s.mem_percent, "mem_size": s.mem_size,
                // The key existing dashboards read; ours are threads.
                "goroutine_num": s.threads, "open_files": s.open_files,
            }}))
        }),
    );
    let (weak, name) = (app.clone(), service.clone());
    put(
        Method::GET,
        "/stats",
        Arc::new(move || {
            let app = weak.upgrade();
            let routes = app.iter().flat_map(|a| a.all_routes()).filter(|(service, _)| *service == &*name).map(|(_, route)| route);
            Response::json(&stats::document(routes))
        }),
    );
    let weak = app.clone();
    put(
        Method::GET,
        "/worker_stats",
        Arc::new(move || {
            // One pool: the requests of the process. Nothing queues behind it, what is too much is refused.
            let (active, max) = weak.upgrade().map_or((0, 0), |a| (a.running(), a.limits.running));
            Response::json(&json!({"workers": [{
                "name": "HttpRequests", "backlog": 0, "queue_cnt": 0, "max_worker_cnt": max, "active_worker_cnt": active,
                "detach_worker_cnt": 0, "db_worker": false, "allow_overflow": false,
            }]}))
        }),
    );
    let metrics = metrics.clone();
    put(Method::GET, "/metrics", Arc::new(move || Response::bytes(HeaderValue::from_static(Metrics::CONTENT_TYPE), metrics.text())));
}
