//! Notices that a guest was killed: somebody took away the file that stands for its process.
//!
//! One watch of the kernel's for all machines, so that hosts at rest cost nothing.

use anyhow::{Context, Result};
use host::sim::World;
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

pub struct Deaths {
    events: Arc<AsyncFd<OwnedFd>>,
    worlds: Arc<Mutex<HashMap<i32, Arc<World>>>>,
    reader: JoinHandle<()>,
}

impl Deaths {
    pub fn new() -> Result<Deaths> {
        let events = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).context("the kernel gives no file watch")?;
        #[expect(deprecated, reason = "its unsafe successor guards against descriptors that close early; an OwnedFd does not")]
        let events = Arc::new(AsyncFd::with_interest(events, Interest::READABLE)?);
        let worlds: Arc<Mutex<HashMap<i32, Arc<World>>>> = Arc::default();
        let reader = tokio::spawn(read(events.clone(), worlds.clone()));
        Ok(Deaths { events, worlds, reader })
    }

    /// From now on `world` hears of files taken out of `dir`, its processes.
    pub fn of(&self, dir: &Path, world: Arc<World>) -> Result<()> {
        let watch =
            add_watch(self.events.get_ref(), dir, WatchFlags::DELETE).with_context(|| format!("{} cannot be watched", dir.display()))?;
        self.worlds.lock().unwrap_or_else(PoisonError::into_inner).insert(watch, world.clone());
        // What went between reading the directory and watching it.
        world.hypervisor.look();
        Ok(())
    }
}

async fn read(events: Arc<AsyncFd<OwnedFd>>, worlds: Arc<Mutex<HashMap<i32, Arc<World>>>>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    loop {
        let Ok(mut ready) = events.readable().await else { return };
        let mut touched = Vec::new();
        let mut reader = Reader::new(events.get_ref(), &mut buffer);
        while let Ok(event) = reader.next() {
            touched.push(event.wd());
        }
        ready.clear_ready();
        touched.sort_unstable();
        touched.dedup();
        for watch in touched {
            let world = worlds.lock().unwrap_or_else(PoisonError::into_inner).get(&watch).cloned();
            if let Some(world) = world {
                world.hypervisor.look();
            }
        }
    }
}

impl Drop for Deaths {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
