//! What the tests stand on: a place for a database, one resource with every kind of column, and patience.

use base::{Clock, Json, Resource, Row, Timestamp};
use std::future::Future;
use std::time::Duration;
use store::{Change, ChangeOp, Db, Dialect, Migrations, ddl, testing};

/// Longer than any test takes on a loaded machine; a hang fails instead of stopping the run.
const PATIENCE: Duration = Duration::from_secs(300);

pub async fn patient<T>(f: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, f).await.expect("the test hangs")
}

/// Runs each test on both databases.
macro_rules! both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                let rig = $crate::fixture::Rig::sqlite();
                $crate::fixture::patient(super::$test(rig)).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                let rig = $crate::fixture::Rig::postgres().await;
                $crate::fixture::patient(super::$test(rig)).await;
            })*
        }
    };
}
pub(crate) use both;

/// A place for one database, which can be opened several times, as replicas do.
pub struct Rig {
    pub url: String,
    pub dialect: Dialect,
    _dir: Option<tempfile::TempDir>,
}

impl Rig {
    pub fn sqlite() -> Rig {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Rig { url: format!("sqlite://{}", dir.path().join("test.db").display()), dialect: Dialect::Sqlite, _dir: Some(dir) }
    }

    pub async fn postgres() -> Rig {
        Rig { url: testing::postgres_url().await, dialect: Dialect::Postgres, _dir: None }
    }

    pub async fn bare(&self) -> Db {
        Db::open(&self.url).await.expect("opening")
    }

    pub async fn open(&self) -> Db {
        self.open_with(Clock::real()).await
    }

    pub async fn open_with(&self, clock: Clock) -> Db {
        let db = Db::open_with(&self.url, clock).await.expect("opening");
        db.migrate(&crates()).await.expect("the tables of the tests");
        db
    }
}

/// Something with room in it.
#[derive(Clone, Debug, Default, PartialEq, base::Resource)]
#[resource(name = "crate", plural = "crates", service = "test", level = system)]
pub struct Crate {
    /// Identifier.
    pub id: String,
    /// Name, unique.
    pub name: String,
    /// Place on the shelf, unique where not NULL.
    pub place: Option<i64>,
    /// Pieces in it.
    pub used: i64,
    /// Pieces it can hold.
    pub capacity: i64,
    /// Weight, kg.
    pub weight: f64,
    /// Weight of the lid, kg, if it has one.
    pub lid: Option<f64>,
    /// Whether it is open.
    pub open: bool,
    /// Whether anybody knows if it is heavy.
    pub heavy: Option<bool>,
    /// Free text; a word that SQL keeps for itself.
    #[field(name = "order")]
    pub order_: String,
    /// Remark.
    pub remark: Option<String>,
    /// Labels.
    pub labels: Json,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was sealed.
    pub sealed_at: Option<Timestamp>,
    /// Version.
    pub update_version: i64,
}

pub fn new(id: &str) -> Crate {
    Crate { id: id.into(), name: format!("crate-{id}"), capacity: 10, ..Crate::default() }
}

pub fn row(id: &str) -> Row {
    new(id).to_row()
}

pub fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn crates() -> Migrations {
    let files = |dialect| -> &'static [(&'static str, &'static str)] {
        let table = ddl::create_table(Crate::facts(), dialect);
        let indexes = "CREATE UNIQUE INDEX crates_name_key ON crates (name);\nCREATE UNIQUE INDEX crates_place_key ON crates (place);\n";
        Box::leak(vec![("0001_crates.sql", leak(table + indexes))].into_boxed_slice())
    };
    Migrations { owner: "test", sqlite: files(Dialect::Sqlite), postgres: files(Dialect::Postgres) }
}

pub fn change(id: &str, version: i64) -> Change {
    Change {
        kind: "crate".into(),
        id: id.into(),
        op: ChangeOp::Update,
        version,
        domain_id: "default".into(),
        project_id: String::new(),
        data: Json::Null,
    }
}

/// A small number that differs from call to call.
pub fn dice(below: u64) -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1 % below
}
