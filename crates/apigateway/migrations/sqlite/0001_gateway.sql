-- Logins of browsers. The id is a digest of what the browser holds; token and held password are sealed.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    public_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    token TEXT NOT NULL,
    factor TEXT NOT NULL,
    held TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '',
    failures INTEGER NOT NULL DEFAULT 0,
    locked_until INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX sessions_user_id ON sessions (user_id, used_at);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- What consoles keep: of users, and of services.
CREATE TABLE parameters (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    namespace TEXT NOT NULL,
    namespace_id TEXT NOT NULL,
    value TEXT NOT NULL,
    created_by TEXT NOT NULL,
    updated_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX parameters_namespace_key ON parameters (namespace, namespace_id, name);

-- Answers to recovery questions, hashed; one set for each user.
CREATE TABLE recovery_answers (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    question TEXT NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX recovery_answers_user_id ON recovery_answers (user_id);

-- The licence in force is the newest that was taken in; older ones are kept for the record.
CREATE TABLE licences (
    id TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL,
    taken_by TEXT NOT NULL,
    taken_at INTEGER NOT NULL
);
CREATE INDEX licences_taken_at ON licences (taken_at);

-- Permissions to open one console, once; the id is a digest of the ticket.
CREATE TABLE console_tickets (
    id TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL,
    server_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    address TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX console_tickets_expires_at ON console_tickets (expires_at);
