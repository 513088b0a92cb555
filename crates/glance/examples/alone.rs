//! The image service alone, everybody an administrator: for trying it out, for measuring, and for the tests that kill it.
//!
//! `alone <directory> <port, 0 for a free one> [program in place of qemu-img]` prints the address it serves on. Loopback only.

use base::{Caller, Role, Scope};
use glance::{Glance, Options};
use http::{App, Limits, Server};
use resource::{Ask, FixedOwners, Gate, Owner};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use store::Db;

struct Everything;

impl Gate for Everything {
    fn widest(&self, _: &Caller, _: Option<IpAddr>, _: &Ask<'_>) -> Scope {
        Scope::System
    }
    fn allows(&self, _: &Caller, _: Option<IpAddr>, _: &Ask<'_>, _: Scope) -> bool {
        true
    }
}

fn administrator() -> Caller {
    let text = |s: &str| s.to_string();
    Caller {
        user_id: text("admin"),
        user: text("admin"),
        user_domain_id: text("default"),
        user_domain: text("Default"),
        project_id: text("system"),
        project: text("system"),
        project_domain_id: text("default"),
        project_domain: text("Default"),
        roles: vec![Role { id: text("admin"), name: text("admin") }],
        is_system_account: false,
    }
}

#[tokio::main]
async fn main() -> base::Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = || base::err!(InputParameter, "usage: alone <directory> <port>");
    let dir = PathBuf::from(args.next().ok_or_else(usage)?);
    let port = args.next().ok_or_else(usage)?;
    std::fs::create_dir_all(&dir).map_err(base::Error::internal)?;
    let db = Db::open(&format!("sqlite://{}", dir.join("image.db").display())).await?;
    let owner = Owner { project_id: "system".into(), project: "system".into(), domain_id: "default".into(), domain: "Default".into() };
    let mut options = Options::new(dir.join("images"));
    if let Some(program) = args.next() {
        options.qemu_img = program.into();
    }
    let glance = Glance::open(db, Arc::new(Everything), Arc::new(FixedOwners(vec![owner])), options).await?;
    let _upkeep = glance.upkeep();
    let caller = Arc::new(administrator());
    let router = glance.router(Arc::new(move |_| caller.clone()));
    let mut server = Server::new(App::new(telemetry::Metrics::default()).limits(Limits::default()).mount("/", "image", router));
    let addr = server.bind(&format!("127.0.0.1:{port}"), None).await?;
    println!("{addr}");
    server.serve(std::future::pending()).await;
    Ok(())
}
