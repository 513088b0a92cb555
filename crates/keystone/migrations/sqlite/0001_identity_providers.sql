-- Where users come from besides the platform's own tables, and what ties them to it.

CREATE TABLE identity_providers (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '',
    is_emulated INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0,
    update_version INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER,
    enabled INTEGER NOT NULL DEFAULT 0,
    driver TEXT NOT NULL DEFAULT '',
    template TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT '',
    is_sso INTEGER NOT NULL DEFAULT 0,
    is_default INTEGER NOT NULL DEFAULT 0,
    icon_uri TEXT NOT NULL DEFAULT '',
    target_domain_id TEXT NOT NULL DEFAULT '',
    auto_create_project INTEGER NOT NULL DEFAULT 0,
    auto_create_user INTEGER NOT NULL DEFAULT 0,
    sync_status TEXT NOT NULL DEFAULT 'idle',
    sync_interval_seconds INTEGER NOT NULL DEFAULT 900,
    last_sync INTEGER,
    last_sync_end_at INTEGER,
    error_count INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    config_version INTEGER NOT NULL DEFAULT 0,
    sync_result TEXT NOT NULL DEFAULT 'null',
    config TEXT NOT NULL DEFAULT 'null',
    sealed_config TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX identity_providers_name_key ON identity_providers (name) WHERE deleted = 0;
CREATE INDEX identity_providers_page ON identity_providers (deleted, created_at DESC, name, id);

CREATE TABLE identity_links (
    id TEXT NOT NULL PRIMARY KEY,
    identity_provider_id TEXT NOT NULL DEFAULT '',
    entity TEXT NOT NULL DEFAULT '',
    local_id TEXT NOT NULL DEFAULT '',
    object_id TEXT NOT NULL DEFAULT '',
    enabled INTEGER NOT NULL DEFAULT 0,
    extra TEXT NOT NULL DEFAULT 'null',
    created_at INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX identity_links_provider ON identity_links (identity_provider_id, entity);
CREATE INDEX identity_links_object ON identity_links (object_id);
