-- What logins need beyond users and credentials: application credentials, second factors, and the memory of failures.

CREATE TABLE application_credentials (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '',
    is_emulated INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0,
    update_version INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER,
    owner_id TEXT NOT NULL DEFAULT '',
    project_id TEXT NOT NULL DEFAULT '',
    roles TEXT NOT NULL DEFAULT 'null',
    unrestricted INTEGER NOT NULL DEFAULT 0,
    access_rules TEXT NOT NULL DEFAULT 'null',
    expires_at INTEGER,
    secret_hash TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX application_credentials_owner_id_name_key ON application_credentials (owner_id, name) WHERE deleted = 0;
CREATE INDEX application_credentials_page ON application_credentials (deleted, created_at DESC, name, id);

-- A credential of type totp that was confirmed and is asked for at login; last_step is the newest half minute a code was taken for.
CREATE TABLE second_factors (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    last_step INTEGER NOT NULL,
    confirmed_at INTEGER NOT NULL
);
CREATE INDEX second_factors_user_id ON second_factors (user_id);

-- Codes that stand in for a lost generator, each once; the id is a keyed digest of user and code.
CREATE TABLE recovery_codes (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL
);
CREATE INDEX recovery_codes_user_id ON recovery_codes (user_id);

-- Failed logins by what they are counted for: an address with a user, an address, a name nobody has, a second factor.
CREATE TABLE login_failures (
    id TEXT NOT NULL PRIMARY KEY,
    failures INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    locked_until INTEGER NOT NULL
);
CREATE INDEX login_failures_last_at ON login_failures (last_at);
