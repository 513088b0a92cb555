//! A resource as a service registers it: facts, hooks, actions, properties.

use crate::{BoxFuture, Hooks, Map, NoHooks, engine::Op};
use base::{Facts, Json, Resource, Result, Row};
use std::sync::Arc;

/// Among which rows a name must be unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Among those of one owner: project, domain or user, by the kind's level.
    Owner,
    /// On the whole platform.
    Global,
    /// Among those of one parent.
    Parent,
    /// Anything goes, or there is no name.
    Free,
}

/// A row that belongs to a row of another kind and is visible exactly when that is.
#[derive(Clone, Copy, Debug)]
pub struct Parent {
    /// Singular keyword of the owning kind.
    pub resource: &'static str,
    /// Column holding its id.
    pub column: &'static str,
}

/// A tie between two kinds, listed under both: `GET /servers/{id}/disks` answers `guestdisks`.
#[derive(Clone, Copy, Debug)]
pub struct Joint {
    /// Plural keyword and column of one side.
    pub master: (&'static str, &'static str),
    pub slave: (&'static str, &'static str),
    pub(crate) tying: Tying,
}

/// How requests make and end a tie: `POST` and `DELETE` of `/servers/{id}/disks/{id}`.
#[derive(Clone, Copy, Debug)]
pub enum Tying {
    /// Rows come by the platform's own hand; they go as rows of other kinds do. What a request to make one is told, of the two sides.
    Not(fn(&Row, &Row) -> base::Error),
    /// By actions of the master, with their checks, their rights and their task.
    Actions(Actions),
}

/// The actions of a master by which its ties come and go.
#[derive(Clone, Copy, Debug)]
pub struct Actions {
    pub attach: &'static str,
    /// The body of that action for a slave of this identifier, from what the client sent.
    pub attaching: fn(&str, Map) -> Map,
    pub detach: &'static str,
    /// The body of that action for a tie.
    pub detaching: fn(&Row) -> Map,
}

/// One input of an action, for documents and the command line.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    pub name: &'static str,
    pub kind: base::Kind,
    pub required: bool,
    /// One sentence with the unit.
    pub doc: &'static str,
}

/// What a create or update body may hold besides the columns: the hooks read it. Its type is checked before they do, and documents and the command line
/// show it like a column.
#[derive(Clone, Copy, Debug)]
pub struct Extra {
    pub input: Input,
    pub create: bool,
    pub update: bool,
    /// Never shown back, and asked for rather than typed where others look on.
    pub secret: bool,
    /// Keys of its elements, where it is a list of objects; a text of their grammar may stand for each.
    pub parts: &'static [Input],
}

impl Extra {
    /// Of a create.
    pub const fn create(name: &'static str, kind: base::Kind, doc: &'static str) -> Extra {
        Extra { input: Input { name, kind, required: false, doc }, create: true, update: false, secret: false, parts: &[] }
    }
    /// Of an update too.
    #[must_use]
    pub const fn and_update(mut self) -> Extra {
        self.update = true;
        self
    }
    #[must_use]
    pub const fn required(mut self) -> Extra {
        self.input.required = true;
        self
    }
    /// A list of objects with these keys.
    #[must_use]
    pub const fn list_of(mut self, parts: &'static [Input]) -> Extra {
        self.parts = parts;
        self
    }
    #[must_use]
    pub const fn secret(mut self) -> Extra {
        self.secret = true;
        self
    }
}

/// What is known of an action before it runs.
#[derive(Clone, Copy, Debug)]
pub struct ActionFact {
    /// Kebab-case, as in the URL.
    pub name: &'static str,
    pub doc: &'static str,
    pub inputs: &'static [Input],
}

/// What an action or property answers.
pub enum Reply {
    /// The full details of the object, as it now is.
    Object,
    Value(Json),
}

/// A function of a hook type: an action on one row, or a property of one.
pub type OnRow<H> = for<'a> fn(&'a H, &'a Op<'a>, Row, Map) -> BoxFuture<'a, Result<Reply>>;
/// A function on the whole class.
pub type OnClass<H> = for<'a> fn(&'a H, &'a Op<'a>, Map) -> BoxFuture<'a, Result<Json>>;

pub(crate) trait RowCall: Send + Sync {
    fn call<'a>(&'a self, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>>;
}
pub(crate) trait ClassCall: Send + Sync {
    fn call<'a>(&'a self, op: &'a Op<'a>, body: Map) -> BoxFuture<'a, Result<Json>>;
}

struct Bound<H, F> {
    hooks: Arc<H>,
    f: F,
}
impl<H: Send + Sync> RowCall for Bound<H, OnRow<H>> {
    fn call<'a>(&'a self, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
        (self.f)(&self.hooks, op, row, body)
    }
}
impl<H: Send + Sync> ClassCall for Bound<H, OnClass<H>> {
    fn call<'a>(&'a self, op: &'a Op<'a>, body: Map) -> BoxFuture<'a, Result<Json>> {
        (self.f)(&self.hooks, op, body)
    }
}

pub struct Kind {
    pub facts: &'static Facts,
    pub naming: Naming,
    pub parent: Option<Parent>,
    pub joint: Option<Joint>,
    /// Further plural keywords under which rows of another kind may list these: `GET /zones/{id}/hosts`; with the column that holds it.
    pub contexts: Vec<(&'static str, &'static str)>,
    /// Whether a client may create or delete rows at all.
    pub creatable: bool,
    pub deletable: bool,
    /// Inputs besides the columns.
    pub extras: &'static [Extra],
    /// Columns whose sums lists tell with `summary_stats`.
    pub sums: &'static [&'static str],
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) actions: Vec<(ActionFact, Arc<dyn RowCall>)>,
    pub(crate) specs: Vec<(ActionFact, Arc<dyn RowCall>)>,
    pub(crate) class_actions: Vec<(ActionFact, Arc<dyn ClassCall>)>,
    pub(crate) class_specs: Vec<(ActionFact, Arc<dyn ClassCall>)>,
}

impl Kind {
    /// A kind that needs no code of its own.
    pub fn plain<R: Resource>() -> Kind {
        Kind::new::<R, NoHooks>(&Arc::new(NoHooks)).done()
    }

    /// Starts the registration of a kind with its hooks.
    #[allow(clippy::new_ret_no_self)]
    pub fn new<R: Resource, H: Hooks>(hooks: &Arc<H>) -> Builder<H> {
        let kind = Kind {
            facts: R::facts(),
            naming: if R::facts().has("name") { Naming::Owner } else { Naming::Free },
            parent: None,
            joint: None,
            contexts: Vec::new(),
            creatable: true,
            deletable: true,
            extras: &[],
            sums: &[],
            hooks: hooks.clone(),
            actions: Vec::new(),
            specs: Vec::new(),
            class_actions: Vec::new(),
            class_specs: Vec::new(),
        };
        Builder { kind, hooks: hooks.clone() }
    }

    pub fn actions(&self) -> impl Iterator<Item = &ActionFact> {
        self.actions.iter().map(|(fact, _)| fact)
    }
    pub fn specs(&self) -> impl Iterator<Item = &ActionFact> {
        self.specs.iter().map(|(fact, _)| fact)
    }
    /// Whether `GET /{kind}/{word}` asks for a property of the class and for no row of that name.
    pub fn is_class_word(&self, word: &str) -> bool {
        crate::standard::CLASS_SPECS.contains(&word) || self.class_specs.iter().any(|(fact, _)| fact.name == word)
    }
    pub fn class_actions(&self) -> impl Iterator<Item = &ActionFact> {
        self.class_actions.iter().map(|(fact, _)| fact)
    }
}

/// Adds behaviour to a kind.
pub struct Builder<H> {
    kind: Kind,
    hooks: Arc<H>,
}

impl<H: Hooks> Builder<H> {
    #[must_use]
    pub fn naming(mut self, naming: Naming) -> Self {
        self.kind.naming = naming;
        self
    }
    #[must_use]
    pub fn parent(mut self, resource: &'static str, column: &'static str) -> Self {
        self.kind.parent = Some(Parent { resource, column });
        self
    }
    #[must_use]
    pub fn joint(mut self, master: (&'static str, &'static str), slave: (&'static str, &'static str), tying: Tying) -> Self {
        self.kind.joint = Some(Joint { master, slave, tying });
        self.kind.creatable = false;
        self
    }
    #[must_use]
    pub fn context(mut self, plural: &'static str, column: &'static str) -> Self {
        self.kind.contexts.push((plural, column));
        self
    }
    /// Inputs of create and update besides the columns.
    #[must_use]
    pub fn extras(mut self, extras: &'static [Extra]) -> Self {
        self.kind.extras = extras;
        self
    }
    /// Columns whose sums lists tell with `summary_stats`, under their names.
    #[must_use]
    pub fn sums(mut self, columns: &'static [&'static str]) -> Self {
        self.kind.sums = columns;
        self
    }
    /// Rows come and go by the platform's own hand only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        (self.kind.creatable, self.kind.deletable) = (false, false);
        self
    }
    /// `POST /servers/{id}/stop`
    #[must_use]
    pub fn action(mut self, fact: ActionFact, f: OnRow<H>) -> Self {
        let call = Arc::new(Bound { hooks: self.hooks.clone(), f });
        self.kind.actions.push((fact, call));
        self
    }
    /// `GET /servers/{id}/vnc`
    #[must_use]
    pub fn spec(mut self, fact: ActionFact, f: OnRow<H>) -> Self {
        let call = Arc::new(Bound { hooks: self.hooks.clone(), f });
        self.kind.specs.push((fact, call));
        self
    }
    /// `POST /hosts/{action}`
    #[must_use]
    pub fn class_action(mut self, fact: ActionFact, f: OnClass<H>) -> Self {
        let call = Arc::new(Bound { hooks: self.hooks.clone(), f });
        self.kind.class_actions.push((fact, call));
        self
    }
    /// `GET /servers/{property}`
    #[must_use]
    pub fn class_spec(mut self, fact: ActionFact, f: OnClass<H>) -> Self {
        let call = Arc::new(Bound { hooks: self.hooks.clone(), f });
        self.kind.class_specs.push((fact, call));
        self
    }
    pub fn done(self) -> Kind {
        self.kind
    }
}
