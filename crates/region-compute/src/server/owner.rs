//! A server that goes to another project or domain takes its disks with it, and is counted there (spec 11 §6.7).

use crate::{intent, quota};
use api_compute::GuestDisk;
use base::{Result, Row, err};
use store::{Cond, Read, Tx};

/// Whether two states of a row have one owner.
pub(crate) fn same(old: &Row, new: &Row) -> bool {
    ["tenant_id", "domain_id"].iter().all(|c| old.text(c) == new.text(c))
}

/// Moves the disks of a server whose owner changes and checks the quotas of the new one, in the transaction that then writes the server's row.
pub(super) async fn moved(tx: &mut Tx, old: &Row, row: &Row) -> Result<()> {
    if same(old, row) {
        return Ok(());
    }
    // What a task makes for the server would be the old owner's.
    intent::idle_server(tx, old).await?;
    let mut more = if row.flag("pending_deleted") { quota::Amounts::default() } else { quota::Amounts::server(row) };
    let unwritten = more;
    for tie in tx.list::<GuestDisk>(Cond::eq("guest_id", row.id()).and(Cond::eq("deleted", false))).await? {
        let disk = intent::disk_row(tx, &tie.disk_id).await?;
        let pending = disk.flag("pending_deleted");
        let namesake = Cond::eq("tenant_id", row.text("tenant_id"))
            .and(Cond::eq("name", disk.name()))
            .and(Cond::eq("deleted", false))
            .and(Cond::eq("pending_deleted", false))
            .and(Cond::ne("id", disk.id()));
        if !pending && tx.exists("disks", namesake).await? {
            return Err(err!(
                DuplicateName,
                "the project has another disk named {}; rename the one of server {} first",
                disk.name(),
                row.name()
            ));
        }
        if !pending {
            more = more.and(quota::Amounts::storage(disk.int("disk_size")));
        }
        intent::change(tx, disk, |r| {
            for column in ["tenant_id", "domain_id"] {
                r.set(column, row.text(column));
            }
        })
        .await?;
    }
    quota::check_moved(tx, old, row, more, unwritten).await
}
