-- Where users come from besides the platform's own tables, and what ties them to it.

CREATE TABLE identity_providers (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL DEFAULT '',
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    is_emulated BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    update_version BIGINT NOT NULL DEFAULT 0,
    deleted BOOLEAN NOT NULL DEFAULT FALSE,
    deleted_at BIGINT,
    enabled BOOLEAN NOT NULL DEFAULT FALSE,
    driver TEXT COLLATE "C" NOT NULL DEFAULT '',
    template TEXT COLLATE "C" NOT NULL DEFAULT '',
    status TEXT COLLATE "C" NOT NULL DEFAULT '',
    is_sso BOOLEAN NOT NULL DEFAULT FALSE,
    is_default BOOLEAN NOT NULL DEFAULT FALSE,
    icon_uri TEXT COLLATE "C" NOT NULL DEFAULT '',
    target_domain_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    auto_create_project BOOLEAN NOT NULL DEFAULT FALSE,
    auto_create_user BOOLEAN NOT NULL DEFAULT FALSE,
    sync_status TEXT COLLATE "C" NOT NULL DEFAULT 'idle',
    sync_interval_seconds BIGINT NOT NULL DEFAULT 900,
    last_sync BIGINT,
    last_sync_end_at BIGINT,
    error_count BIGINT NOT NULL DEFAULT 0,
    last_error TEXT COLLATE "C" NOT NULL DEFAULT '',
    config_version BIGINT NOT NULL DEFAULT 0,
    sync_result TEXT NOT NULL DEFAULT 'null',
    config TEXT NOT NULL DEFAULT 'null',
    sealed_config TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX identity_providers_name_key ON identity_providers (name) WHERE deleted = FALSE;
CREATE INDEX identity_providers_page ON identity_providers (deleted, created_at DESC, name, id);

CREATE TABLE identity_links (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    identity_provider_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    entity TEXT COLLATE "C" NOT NULL DEFAULT '',
    local_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    object_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    enabled BOOLEAN NOT NULL DEFAULT FALSE,
    extra TEXT NOT NULL DEFAULT 'null',
    created_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX identity_links_provider ON identity_links (identity_provider_id, entity);
CREATE INDEX identity_links_object ON identity_links (object_id);
