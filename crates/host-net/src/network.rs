//! The real network: Open vSwitch, the kernel's packet filter, DHCP and metadata, in the current network namespace.
//!
//! One lock, one document, one `converge` that makes the machine what the document says from whatever state it is in (`converge.rs`).
//! `apply`, `plug` and `unplug` change the document or the list of taps and converge; a watcher does the same when a daemon dies and now
//! and then, because others may have touched what is ours.

use crate::config::Config;
use crate::converge::Look;
use crate::files::Files;
use crate::flows::Layout;
use crate::nat::Filter;
use crate::ovs::{self, Daemons, Datapath, Running};
use crate::plan::Document;
use crate::view::View;
use crate::{BoxFuture, Network, Tap};
use api_agent::{GuestNic, GuestSpec, NetworkSpec};
use arc_swap::ArcSwap;
use base::{Error, Result, err};
use netlink::Netlink;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

/// How often the machine is compared with the document although nothing was heard.
const LOOK: Duration = Duration::from_secs(15);
/// How soon it is tried again after it failed.
const RETRY: Duration = Duration::from_secs(1);

/// The network of this host. Dropping it stops the DHCP and metadata answers; bridges, ports, flows, translation and daemons stay, and the
/// next one on the same directory takes them over.
pub struct OvsNetwork {
    pub(crate) inner: Arc<Inner>,
    watcher: AbortHandle,
    _lock: File,
}

pub(crate) struct Inner {
    pub config: Config,
    pub files: Files,
    pub daemons: Daemons,
    pub filter: Filter,
    pub kernel: Netlink,
    pub state: Mutex<State>,
    /// Rung when `state.switch` changed.
    changed: Notify,
}

/// What is known between two convergences. All of it can be found out again.
#[derive(Default)]
pub(crate) struct State {
    pub document: Arc<Document>,
    pub switch: Option<Running>,
    /// Since when a switch of somebody else that we used is gone.
    pub lost: Option<Instant>,
    /// What each bridge was last seen to hold of ours.
    pub layouts: BTreeMap<String, Layout>,
    /// By bridge.
    pub answering: BTreeMap<String, Answering>,
    pub down: bool,
}

/// The tasks that answer guests of a bridge.
pub(crate) struct Answering {
    /// Index of the service port: sockets are bound to a device, not to its name.
    pub device: u32,
    pub view: Arc<ArcSwap<View>>,
    pub tasks: [JoinHandle<()>; 2],
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Inner {
    fn open(mut config: Config) -> Result<(Inner, File)> {
        config.check()?;
        let files = Files::open(&config.data_dir)?;
        // One directory is one owner, by whatever path it was named.
        config.data_dir = files.dir().to_path_buf();
        let lock = files.lock()?;
        let inner = Inner {
            daemons: Daemons::new(files.ovs(), config.switch),
            filter: Filter::new(&config),
            kernel: Netlink::open().map_err(Error::internal)?,
            state: Mutex::new(State { document: Arc::new(files.load_document()), ..State::default() }),
            changed: Notify::new(),
            files,
            config,
        };
        Ok((inner, lock))
    }

    async fn plug(&self, nic: &GuestNic, network: &NetworkSpec, guest: &GuestSpec) -> Result<Tap> {
        let tap = self.config.tap_name(&nic.ifname)?;
        let mut state = self.state.lock().await;
        if !self.files.taps()?.contains_key(&tap) {
            if self.kernel.link(&tap).await.map_err(Error::internal)?.is_some() {
                return Err(err!(Conflict, "device {} exists on this host and is not ours; remove it or give the NIC another name", tap));
            }
            self.files.remember_tap(&tap, &nic.ifname)?;
        }
        self.kernel
            .ensure_tap(&tap)
            .await
            .map_err(|e| err!(ServiceAbnormal, "cannot make tap {} on this host", tap).with_context(chain(&e)))?;
        let mut document = Document::clone(&state.document);
        document.learn(nic, network, guest);
        self.files.store_document(&document)?;
        state.document = Arc::new(document);
        let done = self.converge(&mut state, Look::Remembered).await?;
        self.changed.notify_one();
        if let Some(problem) = done.problems.into_iter().find(|p| p.context().is_some_and(|c| c.contains(&guest.id))) {
            return Err(problem);
        }
        if !done.plugged.contains(&tap) {
            return Err(err!(ServiceAbnormal, "the switch of this host did not take port {}", tap));
        }
        Ok(Tap { ifname: tap, vnet_hdr: done.datapath == Datapath::Kernel })
    }

    async fn unplug(&self, ifname: &str) -> Result<()> {
        let mut state = self.state.lock().await;
        let made = self.files.taps()?;
        let Some((tap, _)) = made.iter().find(|(_, name)| *name == ifname) else { return Ok(()) };
        self.kernel.delete_link(tap).await.map_err(Error::internal)?;
        self.files.forget_tap(tap)?;
        self.converge(&mut state, Look::Remembered).await?;
        self.changed.notify_one();
        Ok(())
    }

    async fn apply(&self, networks: &[NetworkSpec], guests: &[GuestSpec]) -> Result<()> {
        let mut state = self.state.lock().await;
        let document = Document::new(networks, guests);
        if document != *state.document {
            self.files.store_document(&document)?;
            state.document = Arc::new(document);
        }
        let done = self.converge(&mut state, Look::Closely).await?;
        self.changed.notify_one();
        for problem in &done.problems {
            tracing::warn!(error = %problem, context = problem.context(), "part of the document cannot be carried out");
        }
        done.problems.into_iter().next().map_or(Ok(()), Err)
    }

    async fn taps(&self) -> Result<Vec<String>> {
        let mut made = self.files.taps()?;
        let links = self.kernel.links().await.map_err(Error::internal)?;
        Ok(links.iter().filter_map(|l| made.remove(&l.name)).collect())
    }

    /// Heals for ever.
    async fn watch(&self) {
        let mut pause = Duration::ZERO;
        loop {
            let switch = self.state.lock().await.switch.clone();
            let died = async {
                match switch {
                    Some(switch) => {
                        let ovsdb =
                            async { if let Some(pid) = switch.ovsdb { ovs::ended(pid).await } else { std::future::pending().await } };
                        tokio::select! { () = ovs::ended(switch.vswitchd) => {}, () = ovsdb => {} }
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // A dead daemon stays dead while starting it fails: do not spin.
                () = died, if pause != RETRY => {}
                () = tokio::time::sleep(pause) => {}
                () = self.changed.notified() => { pause = LOOK; continue }
            }
            let mut state = self.state.lock().await;
            if state.down {
                return;
            }
            pause = match self.converge(&mut state, Look::Closely).await {
                Ok(done) => {
                    // Whoever applied the document was told.
                    for problem in done.problems {
                        tracing::debug!(error = %problem, context = problem.context(), "part of the document cannot be carried out");
                    }
                    LOOK
                }
                Err(e) => {
                    tracing::warn!(error = %e, context = e.context(), "the network of this host is not as it should be");
                    RETRY
                }
            };
        }
    }
}

impl OvsNetwork {
    /// Takes over what an earlier one on the same directory left, and looks after it until dropped. Needs root.
    pub fn start(config: Config) -> Result<OvsNetwork> {
        let (inner, lock) = Inner::open(config)?;
        let inner = Arc::new(inner);
        let watcher = tokio::spawn({
            let inner = inner.clone();
            async move { inner.watch().await }
        });
        Ok(OvsNetwork { inner, watcher: watcher.abort_handle(), _lock: lock })
    }

    /// Removes all this network made: ports, bridges, translation, daemons, files. Afterwards only `drop` makes sense.
    pub async fn down(&self) -> Result<()> {
        self.inner.take_down().await
    }
}

impl Drop for OvsNetwork {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Removes all that a network with these settings made, when no agent runs.
///
/// Works without the directory too: what is on the machine carries its mark.
pub async fn down(config: Config) -> Result<()> {
    let (inner, _lock) = Inner::open(config)?;
    inner.take_down().await
}

impl Network for OvsNetwork {
    fn apply<'a>(&'a self, networks: &'a [NetworkSpec], guests: &'a [GuestSpec]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.apply(networks, guests))
    }

    fn plug<'a>(&'a self, nic: &'a GuestNic, network: &'a NetworkSpec, guest: &'a GuestSpec) -> BoxFuture<'a, Result<Tap>> {
        Box::pin(self.inner.plug(nic, network, guest))
    }

    fn unplug<'a>(&'a self, ifname: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.unplug(ifname))
    }

    fn taps(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(self.inner.taps())
    }
}

/// An error with its causes, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}
