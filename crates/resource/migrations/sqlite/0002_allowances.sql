-- How much there is of what a licence bounds, never less than that; see allowance.rs.
CREATE TABLE allowances (
    id TEXT NOT NULL PRIMARY KEY,
    mark TEXT NOT NULL,
    held INTEGER NOT NULL,
    counted_at INTEGER NOT NULL
) WITHOUT ROWID;
