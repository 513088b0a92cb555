//! The states of an image (spec 21 §11).
//!
//! ```text
//! create ─▶ queued ──bytes──▶ saving ──▶ saved ──▶ converting ──▶ active ◀─▶ queued (file lost or wrong, found again)
//!                               └─error─▶ killed                    └─delete─▶ pending_delete ─▶ deleted
//! ```

use std::fmt;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $word:literal),* $(,)?) => {
        /// State of an image.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Status { $($(#[$doc])* $name),* }

        impl Status {
            pub const ALL: &'static [Status] = &[$(Status::$name),*];

            /// The word of the wire and of the table.
            pub fn name(self) -> &'static str {
                match self { $(Status::$name => $word),* }
            }

            /// Reads the word; `None` for a word this version does not know.
            pub fn parse(word: &str) -> Option<Status> {
                match word { $($word => Some(Status::$name),)* _ => None }
            }
        }
    };
}

words! {
    /// Described; no bytes yet, or its file is lost.
    Queued = "queued",
    /// Bytes are arriving.
    Saving = "saving",
    /// All bytes are here and understood; the rest of the work has not begun.
    Saved = "saved",
    /// Being looked into for its operating system.
    Probing = "probing",
    /// A copy in another format is being made.
    Converting = "converting",
    /// The permanent store did not take it.
    SaveFail = "save_fail",
    /// Ready for use.
    Active = "active",
    /// Bytes did not arrive or could not be understood.
    Killed = "killed",
    /// On its way out.
    Deactivated = "deactivated",
    /// Gone.
    Deleted = "deleted",
    /// In the recycle bin.
    PendingDelete = "pending_delete",
    /// Tags could not be carried to its parts.
    SyncClassMetadataFailed = "sync_class_metadata_failed",
    /// A member of a group is missing (the word is misspelled on the wire).
    Unknown = "unkown",
}

impl Status {
    /// Whether it will never be used again.
    pub fn dead(self) -> bool {
        matches!(self, Status::Killed | Status::Deactivated | Status::Deleted | Status::PendingDelete)
    }

    /// Whether its bytes are complete and the service still works on it.
    pub fn in_pipeline(self) -> bool {
        matches!(self, Status::Saved | Status::Probing | Status::Converting)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Status> for base::Value {
    fn from(status: Status) -> base::Value {
        base::Value::from(status.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_their_own_inverse() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.name()), Some(*status));
        }
        assert_eq!(Status::parse("unknown"), None, "the wire's spelling is another");
    }
}
