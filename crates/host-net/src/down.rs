//! Taking everything down again.

use crate::converge::is_ours;
use crate::network::{Inner, chain};
use crate::ovs::{self, Change, Database};
use base::{Error, Result};
use std::collections::BTreeSet;

/// Device of the userspace datapath, left behind when its daemon was killed.
const DATAPATH_DEVICE: &str = "ovs-netdev";

impl Inner {
    pub(crate) async fn take_down(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        state.down = true;
        state.answering.clear();
        let own = self.daemons.running();
        let had_own = own.is_some() || self.files.ovs().exists();
        let foreign = self.daemons.foreign();
        let mut shared = false;
        if let Some(switch) = &own {
            match self.leave(switch).await {
                Ok(others) => shared = others,
                // It may be dying; what it leaves is found below.
                Err(e) => tracing::warn!(error = %e, context = e.context(), "our Open vSwitch could not be emptied"),
            }
        }
        let mut alone = had_own && foreign.is_none() && !shared;
        if shared {
            tracing::warn!("another platform has bridges in our Open vSwitch; its daemons stay until that one is taken down too");
            self.daemons.abandon()?;
        } else {
            self.daemons.stop().await?;
        }
        if let Some(switch) = &foreign {
            let others = self.leave(switch).await?;
            alone |= !others && self.daemons.stop_abandoned(switch).await?;
        }
        for (tap, _) in self.files.taps()? {
            self.delete(&tap).await?;
            self.files.forget_tap(&tap)?;
        }
        for link in self.kernel.links().await.map_err(|e| Error::internal(chain(&e)))? {
            if link.alias == self.alias() || alone && link.name == DATAPATH_DEVICE {
                self.delete(&link.name).await?;
            }
        }
        self.filter.remove().await?;
        self.files.remove_all(shared.then(|| self.files.ovs()).as_deref())
    }

    /// Takes our things out of a switch. True when others have bridges in it.
    async fn leave(&self, switch: &ovs::Running) -> Result<bool> {
        let db = Database::of(switch);
        let found = db.state().await?;
        let ours = |name: &String| found.bridges.get(name).is_some_and(|b| is_ours(&self.config, &b.marks));
        let mut changes = Vec::new();
        let mut visited = BTreeSet::new();
        for (name, row) in found.ports.iter().filter(|(_, row)| is_ours(&self.config, &row.marks)) {
            changes.push(Change::DropPort { name: name.clone() });
            if !ours(&row.bridge) {
                visited.insert(row.bridge.clone());
                if let Some(port) = row.number {
                    ovs::delete_meter(&switch.rundir, &row.bridge, port).await?;
                }
            }
        }
        changes.extend(found.bridges.keys().filter(|b| ours(b)).map(|name| Change::DropBridge { name: name.clone() }));
        for bridge in visited {
            ovs::delete_all(&switch.rundir, &bridge, self.config.owner()).await?;
        }
        db.change(&changes).await?;
        Ok(found.bridges.keys().any(|b| !ours(b)))
    }

    async fn delete(&self, link: &str) -> Result<()> {
        self.kernel.delete_link(link).await.map_err(|e| Error::internal(chain(&e)))
    }
}
