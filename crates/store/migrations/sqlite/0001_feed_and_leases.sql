-- The change feed. One writer: the order of numbers is the order of commits. AUTOINCREMENT, so that no number comes twice after a trim.
CREATE TABLE feed (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    op TEXT NOT NULL,
    version INTEGER NOT NULL,
    domain_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    data TEXT NOT NULL
);

-- Who may act alone on something, and until when (microseconds since the epoch). A released lease keeps its row, so that its epoch never falls.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
