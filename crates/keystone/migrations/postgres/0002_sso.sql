-- Logins that are under way at other authorities, and what must not be taken twice. The id is a keyed digest of what comes back with the browser.

CREATE TABLE pending_logins (
    id TEXT NOT NULL PRIMARY KEY,
    sealed TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX pending_logins_expires_at ON pending_logins (expires_at);
