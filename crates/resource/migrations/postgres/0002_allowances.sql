-- How much there is of what a licence bounds, never less than that; see allowance.rs.
CREATE TABLE allowances (
    id TEXT NOT NULL PRIMARY KEY,
    mark TEXT NOT NULL,
    held BIGINT NOT NULL,
    counted_at BIGINT NOT NULL
);
