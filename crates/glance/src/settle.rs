//! From `saved` to `active`: checksum, durability, copies in other formats. Idempotent; run right after an upload and again by the upkeep for
//! whatever a crash left in between.

use crate::files::blocking;
use crate::{Busy, Glance, convert, copies, intake, own, rows};
use api_image::Status;
use base::{Result, Row};
use diskimage::Format;
use std::fs::File;

impl Glance {
    /// Settles an image; a failure is logged here, and the upkeep tries again.
    pub(crate) async fn settle_logged(&self, busy: Busy) {
        if let Err(e) = self.settle(&busy).await {
            tracing::warn!(image = busy.id, error = %e, cause = e.context(), "an image could not be finished; the upkeep tries again");
        }
    }

    pub(crate) async fn settle(&self, busy: &Busy) -> Result<()> {
        let (ctx, id) = (own("settle"), busy.id.as_str());
        let Some(row) = rows::alive(self.db(), id).await? else { return Ok(()) };
        match rows::state(&row) {
            Some(Status::Saved | Status::Probing) => {}
            Some(Status::Converting) => return self.copy_and_activate(&row).await,
            _ => return Ok(()),
        }
        // After a crash the bytes are those the kernel had written: what is not whole is not an image.
        if self.files.size(id)? != u64::try_from(row.int("size")).ok() {
            let killed = rows::transition(
                self.db(),
                &ctx,
                id,
                &[Status::Saved, Status::Probing],
                Status::Killed,
                "the file is not complete",
                |row| {
                    row.set("disable_delete", false);
                },
            );
            killed.await?;
            return self.files.remove(id);
        }
        let path = self.files.path(id)?;
        let facts = blocking(move || {
            let file = File::open(&path).map_err(base::Error::internal)?;
            Ok(diskimage::inspect(&file)?)
        })
        .await?;
        let digests = self.files.digests(id).await?;
        self.files.settle(id).await?;
        let wanted = self.wanted_copies(&row, &facts);
        let next = if wanted { Status::Converting } else { Status::Active };
        let done = rows::transition(self.db(), &ctx, id, &[Status::Saved, Status::Probing], next, "", |row| {
            intake::describe(row, &facts);
            row.set("checksum", digests.md5.as_str());
            row.set("sha256", digests.sha256.as_str());
            row.set("fast_hash", digests.fast_hash.as_str());
        });
        match done.await? {
            Some(row) if wanted => self.copy_and_activate(&row).await,
            _ => Ok(()),
        }
    }

    /// Whether copies in other formats are to be made. Discs and encrypted images have none.
    fn wanted_copies(&self, row: &Row, facts: &diskimage::Facts) -> bool {
        facts.format != Format::Iso
            && !facts.encrypted
            && facts.virtual_size > 0
            && !row.flag("is_guest_image")
            && self.options.target_formats.iter().any(|f| *f != facts.format)
    }

    /// Makes the copies that are missing, then the image is ready: also without a copy that cannot be made, whose row says why.
    async fn copy_and_activate(&self, row: &Row) -> Result<()> {
        let (ctx, id) = (own("copy"), row.id());
        let Some(from) = Format::parse(row.text("disk_format")) else {
            return Err(base::Error::internal(format!("image {id} has the format {:?}", row.text("disk_format"))));
        };
        for to in self.options.target_formats.iter().copied().filter(|f| *f != from) {
            let _one = self.converting.acquire().await.map_err(base::Error::internal)?;
            if copies::ready(self.db(), &self.files, id, to).await? {
                continue;
            }
            copies::begin(self.db(), id, to).await?;
            let outcome = convert::convert(&self.files, &self.options.qemu_img, id, from, to).await;
            if let Err(e) = &outcome {
                tracing::warn!(image = id, format = %to, error = %e, cause = e.context(), "an image has no copy in another format");
            }
            copies::end(self.db(), id, to, outcome.as_ref()).await?;
        }
        rows::transition(self.db(), &ctx, id, &[Status::Converting], Status::Active, "", |_| {}).await?;
        Ok(())
    }
}
