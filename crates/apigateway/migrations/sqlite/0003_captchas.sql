-- Pictures that were answered, until nobody could answer them any more; the id is a digest.
CREATE TABLE captchas (
    id TEXT NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
);
CREATE INDEX captchas_expires_at ON captchas (expires_at);
