//! What ties servers to disks and networks.

use api_compute::{GuestDisk, GuestNetwork};
use resource::{Kind, Naming, NoHooks};
use std::sync::Arc;

pub(crate) fn kinds() -> Vec<Kind> {
    let none = Arc::new(NoHooks);
    vec![
        Kind::new::<GuestDisk, _>(&none)
            .naming(Naming::Free)
            .parent("server", "guest_id")
            .joint(("servers", "guest_id"), ("disks", "disk_id"))
            .done(),
        Kind::new::<GuestNetwork, _>(&none)
            .naming(Naming::Free)
            .parent("server", "guest_id")
            .joint(("servers", "guest_id"), ("networks", "network_id"))
            .done(),
    ]
}
