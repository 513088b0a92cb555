//! What a synchronisation did, or would do: counts, and names as far as they fit into an answer.

use serde::Serialize;

/// Names told of each group of changes.
const TOLD: usize = 100;

/// The difference, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing was written.
    pub dry_run: bool,
    pub domains: Tally,
    pub users: Tally,
    pub groups: Tally,
    pub memberships: Moves,
    /// Roles that groups were given in projects, by the mapping.
    pub grants: Named,
    /// Lines of the mapping that name something that is not there.
    pub unmapped: Vec<Skip>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub created: Named,
    pub updated: Named,
    pub removed: Named,
    /// Gone from the directory or disabled there, and kept.
    pub disabled: Named,
    pub unchanged: usize,
    pub skipped: Skipped,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moves {
    pub added: usize,
    pub removed: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Named {
    pub count: usize,
    /// The first hundred.
    pub names: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    pub count: usize,
    /// The first hundred.
    pub items: Vec<Skip>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Skip {
    pub name: String,
    pub reason: String,
}

impl Named {
    pub fn add(&mut self, name: &str) {
        self.count += 1;
        if self.names.len() < TOLD {
            self.names.push(name.to_string());
        }
    }
}

impl Skipped {
    pub fn add(&mut self, name: &str, reason: &str) {
        self.count += 1;
        if self.items.len() < TOLD {
            self.items.push(Skip { name: name.to_string(), reason: reason.to_string() });
        }
    }
}

impl Tally {
    fn changes(&self) -> usize {
        self.created.count + self.updated.count + self.removed.count + self.disabled.count
    }
}

impl Report {
    /// Rows that differ.
    pub fn changes(&self) -> usize {
        let members = self.memberships.added + self.memberships.removed;
        self.domains.changes() + self.users.changes() + self.groups.changes() + members + self.grants.count
    }
}
