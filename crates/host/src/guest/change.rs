//! What can be changed about a running guest: the difference between what its process has and what is wanted. Pure.

use super::memory::Run;
use api_agent::{GuestDisk, GuestNic, GuestSpec};

/// One step; after it the difference is smaller by it.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    UnplugDisk(GuestDisk),
    UnplugNic(GuestNic),
    PlugDisk(GuestDisk),
    PlugNic(GuestNic),
    /// Same device, other settings of its port.
    RefreshNic(GuestNic),
    /// The document's password of this generation, by the guest's own agent. The password itself is not carried about.
    SetPassword(i64),
}

impl Change {
    /// Whether disks and networks of the document must be ready for it.
    pub fn needs_parts(&self) -> bool {
        matches!(self, Change::PlugDisk(_) | Change::PlugNic(_) | Change::RefreshNic(_))
    }

    /// Notes it as done.
    pub fn note(&self, run: &mut Run) {
        match self {
            Change::UnplugDisk(disk) => run.disks.retain(|d| d.index != disk.index),
            Change::UnplugNic(nic) => run.nics.retain(|n| n.ifname != nic.ifname),
            Change::PlugDisk(disk) => run.disks.push(disk.clone()),
            Change::PlugNic(nic) => run.nics.push(nic.clone()),
            Change::RefreshNic(nic) => {
                for n in run.nics.iter_mut().filter(|n| n.ifname == nic.ifname) {
                    *n = nic.clone();
                }
            }
            Change::SetPassword(generation) => run.password_generation = *generation,
        }
    }
}

/// The next step from `run` to `spec`, unplugging first so that places come free. What cannot be plugged while running (IDE and SATA disks,
/// boot order, cache mode, processors, memory) waits for the next start.
pub fn next_change(run: &Run, spec: &GuestSpec) -> Option<Change> {
    if let Some(disk) = run.disks.iter().find(|d| hot(d) && !spec.disks.iter().any(|w| same_disk(w, d))) {
        return Some(Change::UnplugDisk(disk.clone()));
    }
    if let Some(nic) = run.nics.iter().find(|n| !spec.nics.iter().any(|w| same_nic(w, n))) {
        return Some(Change::UnplugNic(nic.clone()));
    }
    if let Some(disk) = spec.disks.iter().find(|w| hot(w) && !run.disks.iter().any(|d| same_disk(w, d) || d.index == w.index)) {
        return Some(Change::PlugDisk(disk.clone()));
    }
    for wanted in &spec.nics {
        match run.nics.iter().find(|n| same_nic(wanted, n)) {
            None => return Some(Change::PlugNic(wanted.clone())),
            Some(has) if has != wanted => return Some(Change::RefreshNic(wanted.clone())),
            Some(_) => {}
        }
    }
    // Last: a guest without an agent must not keep the others from coming.
    let password = spec.meta.password_generation;
    (password > run.password_generation && !spec.meta.password.is_empty()).then_some(Change::SetPassword(password))
}

fn hot(disk: &GuestDisk) -> bool {
    matches!(disk.driver.as_str(), "virtio" | "scsi" | "")
}

fn same_disk(a: &GuestDisk, b: &GuestDisk) -> bool {
    a.disk_id == b.disk_id && a.index == b.index && a.driver == b.driver
}

fn same_nic(a: &GuestNic, b: &GuestNic) -> bool {
    a.mac == b.mac && a.index == b.index && a.driver == b.driver && a.ifname == b.ifname
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn disks() -> impl Strategy<Value = Vec<GuestDisk>> {
        let driver = prop_oneof![3 => Just("virtio"), 1 => Just("scsi"), 1 => Just("ide")];
        proptest::collection::btree_map(0i64..4, ("[ab]", driver), 0..4).prop_map(|all| {
            all.into_iter()
                .map(|(index, (disk_id, driver))| GuestDisk { disk_id, index, driver: driver.into(), ..Default::default() })
                .collect()
        })
    }

    fn nics() -> impl Strategy<Value = Vec<GuestNic>> {
        proptest::collection::btree_map(0i64..4, ("[ab]", 0i64..2), 0..4).prop_map(|all| {
            let nic = |(index, (mac, bw_limit))| GuestNic { index, ifname: format!("t{index}"), mac, bw_limit, ..Default::default() };
            all.into_iter().map(nic).collect()
        })
    }

    proptest! {
        /// Steps come to an end, and then all that can be changed while running is as wanted.
        #[test]
        fn steps_converge(had_disks in disks(), had_nics in nics(), disks in disks(), nics in nics()) {
            let mut run = Run { disks: had_disks, nics: had_nics, ..Default::default() };
            let spec = GuestSpec { disks, nics, ..Default::default() };
            let mut steps = 0;
            while let Some(change) = next_change(&run, &spec) {
                change.note(&mut run);
                steps += 1;
                prop_assert!(steps < 40, "{change:?} again and again");
            }
            for wanted in spec.disks.iter().filter(|d| hot(d)) {
                // A place taken by a disk that cannot be unplugged stays taken.
                prop_assert!(run.disks.iter().any(|d| same_disk(d, wanted) || (d.index == wanted.index && !hot(d))));
            }
            prop_assert!(run.disks.iter().filter(|d| hot(d)).all(|d| spec.disks.contains(d)));
            let mut has = run.nics.clone();
            has.sort_by_key(|n| n.index);
            prop_assert_eq!(has, spec.nics);
        }
    }
}
