//! Routes: method and pattern to handler. A literal segment outranks a parameter, and the longest match wins (spec 01 §1).
//!
//! A pattern is literal segments, `{name}` for one segment and, at the end, `{*name}` for any number including none. When a literal branch
//! ends without a handler for the method, the parameter branch is tried: `DELETE /servers/statistics` deletes the server of that name even
//! though `GET /servers/statistics` is a property of the class.

use crate::{Request, Response, stats::RouteStats};
use base::Result;
use hyper::Method;
use std::{collections::HashMap, pin::Pin, sync::Arc};

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a handler gives back; an error becomes the error body in the request's language.
pub type Reply = Result<Response>;

/// Answers requests. Any `Fn(Request) -> impl Future<Output = Reply>` is one.
pub trait Handler: Send + Sync + 'static {
    fn call(&self, request: Request) -> BoxFuture<Reply>;
}

impl<F, Fut> Handler for F
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Reply> + Send + 'static,
{
    fn call(&self, request: Request) -> BoxFuture<Reply> {
        Box::pin(self(request))
    }
}

/// A route as requests see it.
pub(crate) struct Route {
    pub method: Method,
    pub pattern: String,
    /// Name and position of every `{name}`.
    pub params: Vec<(String, usize)>,
    /// Position of `{*name}`.
    pub tail: Option<usize>,
    pub handler: Arc<dyn Handler>,
    pub stats: RouteStats,
}

/// A table of routes.
#[derive(Default)]
pub struct Router {
    nodes: Vec<Node>,
    pub(crate) routes: Vec<Arc<Route>>,
}

#[derive(Default)]
struct Node {
    literals: HashMap<Box<str>, usize>,
    param: Option<usize>,
    here: Vec<Arc<Route>>,
    tail: Vec<Arc<Route>>,
}

impl Router {
    pub fn new() -> Router {
        Router::default()
    }

    /// Adds a route. The same method and pattern twice is a mistake of the program and panics at its start.
    #[must_use]
    pub fn route(mut self, method: Method, pattern: &str, handler: impl Handler) -> Router {
        self.add(method, pattern, Arc::new(handler));
        self
    }

    #[must_use]
    pub fn get(self, pattern: &str, handler: impl Handler) -> Router {
        self.route(Method::GET, pattern, handler)
    }
    #[must_use]
    pub fn post(self, pattern: &str, handler: impl Handler) -> Router {
        self.route(Method::POST, pattern, handler)
    }
    #[must_use]
    pub fn put(self, pattern: &str, handler: impl Handler) -> Router {
        self.route(Method::PUT, pattern, handler)
    }
    #[must_use]
    pub fn patch(self, pattern: &str, handler: impl Handler) -> Router {
        self.route(Method::PATCH, pattern, handler)
    }
    #[must_use]
    pub fn delete(self, pattern: &str, handler: impl Handler) -> Router {
        self.route(Method::DELETE, pattern, handler)
    }

    /// One handler under several methods.
    #[must_use]
    pub fn any(mut self, methods: &[Method], pattern: &str, handler: impl Handler) -> Router {
        let handler: Arc<dyn Handler> = Arc::new(handler);
        for method in methods {
            self.add(method.clone(), pattern, handler.clone());
        }
        self
    }

    /// Takes over another table's routes.
    #[must_use]
    pub fn merge(mut self, other: Router) -> Router {
        for route in other.routes {
            self.add(route.method.clone(), &route.pattern, route.handler.clone());
        }
        self
    }

    /// Method and pattern of every route, as they were added.
    pub fn paths(&self) -> impl Iterator<Item = (&Method, &str)> {
        self.routes.iter().map(|r| (&r.method, r.pattern.as_str()))
    }

    pub(crate) fn has(&self, method: &Method, pattern: &str) -> bool {
        self.routes.iter().any(|r| r.method == *method && r.pattern == pattern)
    }

    pub(crate) fn add(&mut self, method: Method, pattern: &str, handler: Arc<dyn Handler>) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        let mut params = Vec::new();
        let mut tail = None;
        for (i, part) in pattern.split('/').filter(|p| !p.is_empty()).enumerate() {
            assert!(tail.is_none(), "{pattern}: nothing can follow a tail");
            match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                Some(name) if name.starts_with('*') => tail = Some(i),
                Some(name) => {
                    params.push((name.to_string(), i));
                    at = match self.nodes[at].param {
                        Some(next) => next,
                        None => {
                            let next = self.push();
                            self.nodes[at].param = Some(next);
                            next
                        }
                    };
                }
                None => {
                    at = match self.nodes[at].literals.get(part) {
                        Some(next) => *next,
                        None => {
                            let next = self.push();
                            self.nodes[at].literals.insert(part.into(), next);
                            next
                        }
                    };
                }
            }
        }
        let route = Arc::new(Route { method, pattern: pattern.to_string(), params, tail, handler, stats: RouteStats::default() });
        let node = &mut self.nodes[at];
        let list = if tail.is_some() { &mut node.tail } else { &mut node.here };
        assert!(list.iter().all(|r| r.method != route.method), "two routes for {} {pattern}", route.method);
        list.push(route.clone());
        self.routes.push(route);
    }

    fn push(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    /// The route of a request. HEAD falls back to GET; the body is dropped on the way out.
    pub(crate) fn find(&self, method: &Method, segments: &[String]) -> Option<&Arc<Route>> {
        if self.nodes.is_empty() {
            return None;
        }
        self.walk(0, method, segments).or_else(|| if method == Method::HEAD { self.walk(0, &Method::GET, segments) } else { None })
    }

    // Two ways at each level and patterns a handful of segments deep: the search is bounded by the size of the table.
    fn walk(&self, at: usize, method: &Method, segments: &[String]) -> Option<&Arc<Route>> {
        let node = &self.nodes[at];
        let found = match segments.split_first() {
            None => node.here.iter().find(|r| r.method == *method),
            Some((first, rest)) => {
                let literal = node.literals.get(first.as_str()).and_then(|next| self.walk(*next, method, rest));
                literal.or_else(|| node.param.and_then(|next| self.walk(next, method, rest)))
            }
        };
        found.or_else(|| node.tail.iter().find(|r| r.method == *method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[(&str, &str)]) -> Router {
        let mut router = Router::new();
        for (method, pattern) in patterns {
            router.add(method.parse().unwrap(), pattern, Arc::new(|_: Request| async { Ok(Response::text("")) }));
        }
        router
    }

    #[test]
    fn which_route_wins() {
        let router = table(&[
            ("GET", "/"),
            ("GET", "/{kp}"),
            ("GET", "/{kp}/{id}"),
            ("DELETE", "/{kp}/{id}"),
            ("GET", "/servers/statistics"),
            ("GET", "/servers/{id}/vnc"),
            ("GET", "/{kp}/{id}/{spec}"),
            ("HEAD", "/images/{id}"),
            ("GET", "/static/{*path}"),
            ("GET", "/static/a/b"),
        ]);
        let check = |method: &str, path: &str, want: Option<&str>| {
            let segments = crate::path::segments(path).unwrap();
            let found = router.find(&method.parse().unwrap(), &segments);
            assert_eq!(found.map(|r| format!("{} {}", r.method, r.pattern)).as_deref(), want, "{method} {path}");
        };
        check("GET", "/", Some("GET /"));
        check("GET", "/servers", Some("GET /{kp}"));
        check("GET", "/servers/statistics", Some("GET /servers/statistics"));
        check("DELETE", "/servers/statistics", Some("DELETE /{kp}/{id}"));
        check("GET", "/servers/x", Some("GET /{kp}/{id}"));
        check("GET", "/servers/statistics/vnc", Some("GET /servers/{id}/vnc"));
        check("GET", "/servers/x/other", Some("GET /{kp}/{id}/{spec}"));
        check("GET", "/servers/x/vnc/more", None);
        check("POST", "/servers", None);
        check("HEAD", "/images/x", Some("HEAD /images/{id}"));
        check("HEAD", "/servers/x", Some("GET /{kp}/{id}"));
        check("GET", "/static/a/b", Some("GET /static/a/b"));
        check("GET", "/static/a/b/c/d", Some("GET /static/{*path}"));
        check("GET", "/static", Some("GET /static/{*path}"));
        check("GET", "/servers%2Fx", Some("GET /{kp}"));
    }

    #[test]
    fn a_route_twice_is_refused() {
        let twice = std::panic::catch_unwind(|| table(&[("GET", "/a/{x}"), ("GET", "/a/{y}")]));
        assert!(twice.is_err());
    }
}
