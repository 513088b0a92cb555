//! The commands, in the order of a small platform's life.

use crate::{
    client::OpenStack,
    kit::{ADMIN_PASSWORD, config},
};
use base::Clock;
use http::{App, Server};
use keystone::ServiceEntry;

pub async fn run() {
    // The catalogue names the port, so that is chosen first.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let url = format!("http://127.0.0.1:{port}/v3");
    let mut config = config();
    let entry = |name: &str, kind: &str, url: &str| ServiceEntry {
        name: name.into(),
        r#type: kind.into(),
        public_url: url.into(),
        ..ServiceEntry::default()
    };
    config.services = vec![entry("keystone", "identity", &url), entry("glance", "image", "http://127.0.0.1:30292/v1")];
    let db = store::testing::sqlite().await;
    let mut keystone = keystone::build(config, db, Clock::real()).await.expect("the service starts");
    let app = App::new(telemetry::Metrics::default()).mount("/", "keystone", std::mem::take(&mut keystone.router));
    let mut server = Server::new(app);
    server.bind(&format!("127.0.0.1:{port}"), None).await.expect("the port");
    let _serving = server.start();
    tokio::task::spawn_blocking(move || life(&url)).await.expect("the commands ran");
}

/// What a command must come to.
enum Want {
    /// It succeeds, and prints this.
    Prints(&'static str),
    /// It fails, and says this.
    Fails(&'static str),
}
use Want::{Fails, Prints};

fn life(url: &str) {
    let mut os = OpenStack::start(&[
        ("OS_AUTH_URL", url),
        ("OS_IDENTITY_API_VERSION", "3"),
        ("OS_USERNAME", "sysadmin"),
        ("OS_PASSWORD", ADMIN_PASSWORD),
        ("OS_PROJECT_NAME", "system"),
        ("OS_USER_DOMAIN_NAME", "Default"),
        ("OS_PROJECT_DOMAIN_NAME", "Default"),
    ]);
    let mut wrong = Vec::new();
    for (line, want) in COMMANDS {
        let args: Vec<&str> = line.split(' ').collect();
        let outcome = os.run(&args);
        let fits = match want {
            Prints(text) => outcome.code == 0 && outcome.out.contains(text),
            Fails(text) => outcome.code != 0 && outcome.err.contains(text),
        };
        if !fits {
            wrong.push(format!("openstack {line}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What the table promises is what was run.
    let table = include_str!("../../../../docs/compat/identity.md");
    for (line, _) in COMMANDS {
        let command = line.split(" -").next().unwrap_or(line);
        let named = COMPLETE.iter().find(|c| command.starts_with(**c)).unwrap_or_else(|| panic!("{line}: name the command in COMPLETE"));
        assert!(table.contains(&format!("| `openstack {named}` |")), "docs/compat/identity.md has no row of openstack {named}");
    }
    let token = os.run(&["token", "issue", "-f", "value", "-c", "id"]).out.trim().to_string();
    assert_eq!(os.run(&["token", "revoke", "--", &token]).code, 0);
    let with_it = ["--os-auth-type", "token", "--os-token", &token, "project", "list"];
    assert_ne!(os.run(&with_it).code, 0, "it is void");
}

const COMMANDS: &[(&str, Want)] = &[
    ("token issue", Prints("expires")),
    ("versions show --service identity", Prints("CURRENT")),
    ("catalog list", Prints("keystone")),
    ("catalog show identity", Prints("/v3")),
    ("domain list", Prints("Default")),
    ("domain create acme --description d", Prints("acme")),
    ("domain show acme", Prints("acme")),
    ("domain set acme --description e", Prints("")),
    ("project list", Prints("system")),
    ("project list --my-projects", Prints("system")),
    ("project create demo --domain Default --description x", Prints("demo")),
    ("project show demo", Prints("demo")),
    ("project set demo --description y", Prints("")),
    ("project create --domain acme hq", Prints("hq")),
    ("project list --domain acme", Prints("hq")),
    ("user create alice --domain Default --password Alice@Pass1 --project demo --email a@example.com", Prints("")),
    ("user show alice", Prints("alice")),
    ("user list", Prints("alice")),
    ("user list --project demo", Prints("")),
    ("user set alice --email b@example.com", Prints("")),
    ("user password set --original-password x --password y", Fails("the old password is wrong")),
    ("group create team --domain Default", Prints("")),
    ("group show team", Prints("team")),
    ("group list", Prints("team")),
    ("group set team --description t", Prints("")),
    ("group add user team alice", Prints("")),
    ("group contains user team alice", Prints("alice in group team")),
    ("user list --group team", Prints("alice")),
    ("group list --user alice", Prints("team")),
    ("role create builder", Prints("")),
    ("role show builder", Prints("builder")),
    ("role list", Prints("project_viewer")),
    ("role add --project demo --user alice project_viewer", Prints("")),
    ("role add --project demo --group team builder", Prints("")),
    ("role assignment list --project demo --names", Prints("alice@Default")),
    ("role assignment list --user alice --names", Prints("project_viewer")),
    ("role assignment list --effective --names --project demo", Prints("project_viewer")),
    ("role assignment list --user alice --project demo", Prints("")),
    ("role add --domain Default --user alice project_viewer", Prints("")),
    ("role remove --domain Default --user alice project_viewer", Prints("")),
    ("role remove --project demo --group team builder", Prints("")),
    ("service create --name nova compute", Prints("")),
    ("service list", Prints("nova")),
    ("service list --long", Prints("compute")),
    ("service show nova", Prints("compute")),
    ("service set nova --description s", Prints("")),
    ("region create r1 --description z", Prints("")),
    ("region list", Prints("r1")),
    ("region show r1", Prints("r1")),
    ("region set r1 --description q", Prints("")),
    ("endpoint create --region r1 nova public http://127.0.0.1:1/", Prints("")),
    ("endpoint list", Prints("nova")),
    ("endpoint list --service nova --interface public", Prints("http://127.0.0.1:1/")),
    ("application credential create app --role admin", Prints("Secret")),
    ("application credential list", Prints("app")),
    ("application credential show app", Prints("app")),
    ("application credential delete app", Prints("")),
    ("access rule list", Prints("")),
    ("credential create --type cert --project system sysadmin blobtext", Fails("is none of aksk")),
    (r#"credential create --type aksk --project system sysadmin {"secret":"0123456789abcdefghij"}"#, Prints("")),
    ("credential list", Prints("aksk")),
    ("ec2 credentials create", Prints("access")),
    ("ec2 credentials list", Prints("Access")),
    ("policy list", Prints("sysadmin")),
    ("limit list", Fails("no resource limits")),
    ("registered limit list", Fails("no resource registered_limits")),
    ("trust list", Fails("no resource OS-TRUST")),
    ("identity provider list", Fails("no resource OS-FEDERATION")),
    ("mapping list", Fails("no resource OS-FEDERATION")),
    ("federation project list", Prints("")),
    ("federation domain list", Prints("")),
    ("implied role list", Fails("no resource role_inferences")),
];

/// Commands by their words, without their arguments; a row of the table each.
const COMPLETE: &[&str] = &[
    "application credential delete",
    "application credential create",
    "application credential show",
    "application credential list",
    "federation project list",
    "identity provider list",
    "ec2 credentials create",
    "federation domain list",
    "registered limit list",
    "ec2 credentials list",
    "role assignment list",
    "group contains user",
    "credential create",
    "implied role list",
    "user password set",
    "access rule list",
    "credential list",
    "endpoint create",
    "group add user",
    "service create",
    "project create",
    "versions show",
    "endpoint list",
    "region create",
    "domain create",
    "project show",
    "service list",
    "project list",
    "service show",
    "catalog list",
    "catalog show",
    "mapping list",
    "group create",
    "token issue",
    "service set",
    "region show",
    "region list",
    "user create",
    "project set",
    "role remove",
    "role create",
    "domain show",
    "domain list",
    "policy list",
    "region set",
    "limit list",
    "group list",
    "group show",
    "domain set",
    "trust list",
    "role show",
    "group set",
    "role list",
    "user list",
    "user show",
    "user set",
    "role add",
];
