-- What logins need beyond users and credentials: application credentials, second factors, and the memory of failures.

CREATE TABLE application_credentials (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL DEFAULT '',
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    is_emulated BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    update_version BIGINT NOT NULL DEFAULT 0,
    deleted BOOLEAN NOT NULL DEFAULT FALSE,
    deleted_at BIGINT,
    owner_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    project_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    roles TEXT COLLATE "C" NOT NULL DEFAULT 'null',
    unrestricted BOOLEAN NOT NULL DEFAULT FALSE,
    access_rules TEXT COLLATE "C" NOT NULL DEFAULT 'null',
    expires_at BIGINT,
    secret_hash TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX application_credentials_owner_id_name_key ON application_credentials (owner_id, name) WHERE NOT deleted;
CREATE INDEX application_credentials_page ON application_credentials (deleted, created_at DESC, name, id);

-- A credential of type totp that was confirmed and is asked for at login; last_step is the newest half minute a code was taken for.
CREATE TABLE second_factors (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL,
    last_step BIGINT NOT NULL,
    confirmed_at BIGINT NOT NULL
);
CREATE INDEX second_factors_user_id ON second_factors (user_id);

-- Codes that stand in for a lost generator, each once; the id is a keyed digest of user and code.
CREATE TABLE recovery_codes (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL
);
CREATE INDEX recovery_codes_user_id ON recovery_codes (user_id);

-- Failed logins by what they are counted for: an address with a user, an address, a name nobody has, a second factor.
CREATE TABLE login_failures (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    locked_until BIGINT NOT NULL
);
CREATE INDEX login_failures_last_at ON login_failures (last_at);
