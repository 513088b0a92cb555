//! The private PostgreSQL of a test run: one server on a unix socket in a temporary directory, shared by all test processes of one user.
//!
//! Every process that uses the server holds a shared lock on its file `users`, which the kernel drops with the process however it ends. A watchdog, the
//! parent of the server, waits until nobody holds the lock, lingers a few seconds for the next test binary, stops the server and removes the directory.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a start may take; test machines are loaded.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts the server ("$@"), and ends it when it is no longer used. The exclusive lock is kept to the end, so that nobody joins a server that is going.
const WATCHDOG: &str = r#"
cd "$0" || exit 1
"$@" &
server=$!
exec 9<users
while :; do
    flock -x 9; flock -u 9
    sleep 5
    flock -n -x 9 && break
done
kill -INT $server
wait $server
rm -rf "$0"
"#;

struct Server {
    dir: PathBuf,
    /// The lock that says we use it.
    _user: File,
}

static SERVER: Mutex<Option<Server>> = Mutex::new(None);
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Makes a database and answers its URL.
pub(super) async fn database() -> String {
    databases(&[""]).await
}

/// Makes a database for each of these words and answers their URL, with `{service}` where the word stands.
pub(super) async fn databases(words: &[&str]) -> String {
    let dir = tokio::task::spawn_blocking(joined).await.expect("starting PostgreSQL");
    let url = |name: &str| format!("postgres:///{name}?host={}&user=postgres", dir.display());
    let mut admin = connect(&url("postgres")).await;
    let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    if name.ends_with("_0") {
        sweep(&mut admin).await;
    }
    for word in words {
        let make = AssertSqlSafe(format!("CREATE DATABASE {name}{word} TEMPLATE template0"));
        sqlx::raw_sql(make).execute(&mut admin).await.expect("CREATE DATABASE");
    }
    admin.close().await.ok();
    url(&if words == [""] { name } else { format!("{name}{{service}}") })
}

async fn connect(url: &str) -> PgConnection {
    let end = Instant::now() + PATIENCE;
    loop {
        match PgConnection::connect(url).await {
            Ok(conn) => return conn,
            Err(e) if Instant::now() > end => panic!("the private PostgreSQL does not answer: {e}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Drops the databases of test processes that are gone.
async fn sweep(admin: &mut PgConnection) {
    let all = sqlx::query("SELECT datname::text FROM pg_database WHERE datname ~ '^t[0-9]+_[0-9]+[a-z]*$'")
        .fetch_all(&mut *admin)
        .await
        .unwrap_or_default();
    for row in all {
        let name: String = row.get(0);
        let pid = name[1..].split('_').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            // Another process may sweep at the same time.
            sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).execute(&mut *admin).await.ok();
        }
    }
}

/// The directory of the server this process uses, joined or started.
fn joined() -> PathBuf {
    let mut server = SERVER.lock().unwrap_or_else(|e| e.into_inner());
    server.get_or_insert_with(|| {
        let root = std::env::temp_dir().join(format!("store-pg-{}", owner()));
        fs::create_dir_all(&root).expect("a directory for PostgreSQL");
        let lock = File::create(root.join("lock")).expect("the lock of the starters");
        lock.lock().expect("the lock of the starters");
        let current = root.join("current");
        let running = fs::read_to_string(&current).ok().and_then(|dir| join(Path::new(&dir)));
        running.unwrap_or_else(|| {
            let server = start(&root);
            fs::write(&current, server.dir.as_os_str().as_encoded_bytes()).expect("noting the server");
            server
        })
    });
    server.as_ref().map(|s| s.dir.clone()).unwrap_or_default()
}

/// The owner of this process, who is the owner of its entry under /proc.
fn owner() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").map_or(0, |m| m.uid())
}

/// Joins a running server; nothing if it is gone or going.
fn join(dir: &Path) -> Option<Server> {
    let users = File::open(dir.join("users")).ok()?;
    users.try_lock_shared().ok()?;
    // The watchdog may have removed the file between the two.
    dir.join("data/postmaster.pid").exists().then(|| Server { dir: dir.to_path_buf(), _user: users })
}

#[expect(clippy::zombie_processes, reason = "the watchdog outlives this process")]
fn start(root: &Path) -> Server {
    let bin = binaries();
    let account = (owner() == 0).then(account);
    let dir = root.join(&uuid::Uuid::new_v4().simple().to_string()[..8]);
    fs::create_dir(&dir).expect("a directory for PostgreSQL");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("a directory others can enter");
    let user = File::create(dir.join("users")).expect("the lock of the users");
    user.lock_shared().expect("the lock of the users");
    let mut prefix = Vec::new();
    if let Some((uid, gid)) = account {
        chown(&dir, Some(uid), Some(gid)).expect("giving the directory to postgres");
        prefix = ["setpriv".into(), format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()].to_vec();
    }
    let command = |program: &str| {
        let mut words = prefix.clone();
        words.push(bin.join(program).display().to_string());
        words
    };
    let init = command("initdb");
    let out = Command::new(&init[0])
        .args(&init[1..])
        .args(["-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"])
        .current_dir(&dir)
        .output()
        .expect("running initdb");
    assert!(out.status.success(), "initdb failed: {}", String::from_utf8_lossy(&out.stderr));
    let log = || File::options().append(true).create(true).open(dir.join("log")).expect("the server's log");
    let socket = dir.display().to_string();
    let settings = [
        "listen_addresses=",
        &format!("unix_socket_directories={socket}"),
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "deadlock_timeout=200ms",
        "max_connections=500",
        "shared_buffers=64MB",
        "max_wal_size=256MB",
    ]
    .map(|s| ["-c".to_string(), s.to_string()]);
    Command::new("sh")
        .args(["-c", WATCHDOG, &socket])
        .args(command("postgres"))
        .args(["-D", "data"])
        .args(settings.as_flattened())
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log())
        .process_group(0)
        .spawn()
        .expect("starting PostgreSQL's watchdog");
    let end = Instant::now() + PATIENCE;
    while !dir.join("data/postmaster.pid").exists() || !dir.join(".s.PGSQL.5432").exists() {
        assert!(Instant::now() < end, "PostgreSQL does not start; its log: {}", fs::read_to_string(dir.join("log")).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
    Server { dir, _user: user }
}

/// The newest installed server's programs.
fn binaries() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path());
    let newest = installed
        .filter(|p| p.join("bin/postgres").exists())
        .max_by_key(|p| -> u32 { p.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()).unwrap_or(0) });
    newest.expect("these tests need a PostgreSQL server: install the Debian package `postgresql`").join("bin")
}

/// The account the server runs as: PostgreSQL refuses to run as root.
fn account() -> (u32, u32) {
    let accounts = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let line =
        accounts.lines().find(|l| l.starts_with("postgres:")).expect("the account `postgres`: install the Debian package `postgresql`");
    let mut fields = line.split(':').skip(2).map(|f| f.parse().expect("a number"));
    (fields.next().expect("a user id"), fields.next().expect("a group id"))
}
