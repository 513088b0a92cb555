//! OpenStack's own command line against a live identity service: every command of `docs/compat/identity.md` is run here, and what it must
//! print is looked for. The client comes from the Python package index at pinned versions, once, under `target/`.

#[path = "../suite/kit.rs"]
#[allow(dead_code, reason = "the kit is the suite's; not all of it is needed here")]
mod kit;
#[path = "../suite/python.rs"]
mod python;

mod client;
mod commands;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openstack_commands() {
    commands::run().await;
}
