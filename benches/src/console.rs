//! The web console in a browser before very many servers. What is measured and how stands in `web/e2e/speed.mjs`.

use crate::{Plan, fill, table::Table};
use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;
use std::{path::Path, process::Command};

pub async fn measure(plan: &Plan, table: &mut Table) -> Result<()> {
    let mut platform = fill::filled(plan).await?;
    table.section(&format!("console, {} servers on {} hosts", plan.servers, plan.hosts));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/e2e/speed.mjs");
    let mut command = Command::new("node");
    command.arg(script).arg(format!("http://{}", platform.address)).arg(platform.password()?);
    let out = tokio::task::spawn_blocking(move || command.output()).await?.context("node")?;
    ensure!(out.status.success(), "speed.mjs: {}", String::from_utf8_lossy(&out.stderr));
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let figure: Json = serde_json::from_str(line).with_context(|| line.to_string())?;
        let (what, unit) = (figure["what"].as_str().unwrap_or_default(), figure["unit"].as_str().unwrap_or_default());
        let number = |key: &str| figure[key].as_f64().unwrap_or_default();
        let (measured, goal) = (number("measured"), number("goal"));
        // Less is better of everything that has a unit.
        let (sign, ratio) = if unit.is_empty() { ("", 0.0) } else { ("≤ ", goal / measured.max(1.0)) };
        table.row(what, &format!("{measured} {unit}"), &format!("{sign}{goal} {unit}"), ratio, "");
    }
    platform.stop().await
}
