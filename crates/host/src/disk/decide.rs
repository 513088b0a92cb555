//! The one decision about a disk: from what is wanted and what is there to the next thing to do. Pure.

use super::DiskFacts;
use api_agent::{DiskSpec, Existence};

/// Who uses the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    /// The process of this guest has it open.
    Guest(String),
}

/// Where the image of the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// It has none.
    Unneeded,
    Cached,
    /// In the document, not in the cache.
    Known,
    /// Not even in the document.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Ready,
    Gone,
    FetchImage,
    Create,
    Grow,
    /// The guest's process has to do it.
    GrowRunning {
        guest: String,
    },
    Delete,
    WaitForGuest {
        guest: String,
    },
    Fail(String),
}

pub fn decide(spec: &DiskSpec, found: Option<DiskFacts>, image: Image, holder: &Holder) -> Action {
    match (spec.existence, found) {
        (Existence::Absent, None) => Action::Gone,
        (Existence::Absent, Some(_)) => match holder {
            Holder::Nobody => Action::Delete,
            Holder::Guest(guest) => Action::WaitForGuest { guest: guest.clone() },
        },
        (Existence::Present, Some(facts)) if facts.size_mb() < spec.size_mb => match holder {
            Holder::Nobody => Action::Grow,
            Holder::Guest(guest) => Action::GrowRunning { guest: guest.clone() },
        },
        (Existence::Present, Some(_)) => Action::Ready,
        (Existence::Present, None) => match image {
            Image::Unneeded if spec.size_mb <= 0 => Action::Fail("an empty disk must have a size".into()),
            Image::Unneeded | Image::Cached => Action::Create,
            Image::Known => Action::FetchImage,
            Image::Unknown => Action::Fail(format!("image {} is not in the document", spec.image_id)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let present = DiskSpec { size_mb: 10, image_id: "i".into(), ..Default::default() };
        let absent = DiskSpec { existence: Existence::Absent, ..present.clone() };
        let sizeless = DiskSpec::default();
        let facts = |mb: u64| Some(DiskFacts { bytes: mb << 20 });
        let guest = || Holder::Guest("g".into());
        for (name, spec, found, image, holder, want) in [
            ("image first", &present, None, Image::Known, Holder::Nobody, Action::FetchImage),
            ("then the disk", &present, None, Image::Cached, Holder::Nobody, Action::Create),
            ("no such image", &present, None, Image::Unknown, Holder::Nobody, Action::Fail("image i is not in the document".into())),
            ("without a size", &sizeless, None, Image::Unneeded, Holder::Nobody, Action::Fail("an empty disk must have a size".into())),
            ("there", &present, facts(10), Image::Unknown, Holder::Nobody, Action::Ready),
            ("larger than wanted is left", &present, facts(11), Image::Cached, Holder::Nobody, Action::Ready),
            ("smaller", &present, facts(9), Image::Cached, Holder::Nobody, Action::Grow),
            ("smaller, in use", &present, facts(9), Image::Cached, guest(), Action::GrowRunning { guest: "g".into() }),
            ("part of a MiB is none", &present, Some(DiskFacts { bytes: (9 << 20) + 1 }), Image::Cached, Holder::Nobody, Action::Ready),
            ("delete", &absent, facts(10), Image::Cached, Holder::Nobody, Action::Delete),
            ("never under a guest", &absent, facts(10), Image::Cached, guest(), Action::WaitForGuest { guest: "g".into() }),
            ("deleted", &absent, None, Image::Cached, guest(), Action::Gone),
        ] {
            assert_eq!(decide(spec, found, image, &holder), want, "{name}");
        }
    }
}
