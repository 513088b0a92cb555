-- Changes as transactions commit them, not yet in an order: numbers taken before the commit would let a late commit slip in behind a reader.
CREATE TABLE feed_pending (
    id BIGSERIAL PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    op TEXT NOT NULL,
    version BIGINT NOT NULL,
    domain_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    data TEXT NOT NULL
);

-- The change feed: moved here from feed_pending, and numbered without gaps, by whoever has locked the row of feed_head.
CREATE TABLE feed (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    op TEXT NOT NULL,
    version BIGINT NOT NULL,
    domain_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    data TEXT NOT NULL
);

CREATE TABLE feed_head (
    id BIGINT PRIMARY KEY,
    head BIGINT NOT NULL
);
INSERT INTO feed_head (id, head) VALUES (1, 0);

-- Who may act alone on something, and until when (microseconds since the epoch). A released lease keeps its row, so that its epoch never falls.
CREATE TABLE leases (
    name TEXT COLLATE "C" PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
