//! Consoles of guests: dials the region for each call and joins what it gets with the guest's socket. Called by the dialer.
//!
//! The screen may be watched by several, the serial port has one user: the newest caller takes it over.

use crate::{files, region::Region, site::Site};
use api_agent::{ConsoleCall, ConsoleKind};
use base::{Result, err};
use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::UnixStream,
    sync::oneshot,
};

/// What of the serial port's log a newcomer is shown, in bytes: what stands on the screen of a terminal.
const SHOWN: u64 = 8 << 10;

#[derive(Default)]
pub(crate) struct Consoles {
    /// Dropping it ends who uses the guest's serial port.
    serial: Mutex<HashMap<String, oneshot::Sender<()>>>,
}

impl Consoles {
    /// Until one of the ends is closed.
    pub async fn serve(self: Arc<Self>, site: Arc<Site>, region: Arc<dyn Region>, credential: String, call: ConsoleCall) {
        let guest = match attach(&site, &call).await {
            Ok(guest) => guest,
            Err(e) => {
                tracing::info!(guest = %call.guest_id, kind = call.kind.name(), error = %e, "console refused");
                if let Err(e) = region.console_refused(&credential, &call, &e.to_string()).await {
                    tracing::debug!(error = %e, "the region was not told");
                }
                return;
            }
        };
        let taken_over = (call.kind == ConsoleKind::Serial).then(|| {
            let (end, ended) = oneshot::channel();
            self.serial.lock().unwrap_or_else(PoisonError::into_inner).insert(call.guest_id.clone(), end);
            ended
        });
        let over = tokio::select! {
            over = join(&*region, &credential, &call, guest) => over,
            () = gone(taken_over) => Ok(()),
        };
        if let Err(e) = over {
            tracing::debug!(guest = %call.guest_id, kind = call.kind.name(), error = %e, "console broke off");
        }
    }
}

async fn gone(taken_over: Option<oneshot::Receiver<()>>) {
    match taken_over {
        Some(ended) => drop(ended.await),
        None => std::future::pending().await,
    }
}

/// The guest's end and what to show first.
struct Guest {
    socket: UnixStream,
    shown: Vec<u8>,
}

async fn attach(site: &Site, call: &ConsoleCall) -> Result<Guest> {
    let seen = site.board.guests().into_iter().find(|g| g.id == call.guest_id);
    let seen = seen.ok_or_else(|| err!(NotFound, "guest {} is not on this host", call.guest_id))?;
    let path = match call.kind {
        ConsoleKind::Vnc => seen.vnc,
        ConsoleKind::Serial => seen.serial,
    };
    if path.is_empty() {
        return Err(err!(InvalidStatus, "the guest has no {} console; it must run", call.kind.name()));
    }
    let socket = UnixStream::connect(&path).await;
    let socket = socket.map_err(|e| err!(InvalidStatus, "the guest has no {} console; it must run", call.kind.name()).with_context(e))?;
    // Read after the socket is joined: what is said between shows twice rather than never.
    let shown = match call.kind {
        ConsoleKind::Serial => files::tail(&Path::new(&path).with_file_name("serial.log"), SHOWN).unwrap_or_default(),
        ConsoleKind::Vnc => Vec::new(),
    };
    Ok(Guest { socket, shown })
}

async fn join(region: &dyn Region, credential: &str, call: &ConsoleCall, mut guest: Guest) -> Result<()> {
    let mut person = region.console(credential, call).await?;
    let broken = |e: io::Error| err!(ServiceAbnormal, "the console broke off").with_context(e);
    person.write_all(&guest.shown).await.map_err(broken)?;
    copy_bidirectional(&mut person, &mut guest.socket).await.map(drop).map_err(broken)
}
