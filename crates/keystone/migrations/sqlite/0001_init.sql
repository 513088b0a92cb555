-- Identity (spec 02). Names are unique among living rows; lists go by created_at, newest first.

CREATE TABLE domains (
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
    displayname TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX domains_name_key ON domains (name) WHERE deleted = 0;
CREATE INDEX domains_page ON domains (deleted, created_at DESC, name, id);

CREATE TABLE projects (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '',
    is_emulated INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0,
    update_version INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER,
    domain_id TEXT NOT NULL DEFAULT '',
    domain_src TEXT NOT NULL DEFAULT 'local',
    enabled INTEGER NOT NULL DEFAULT 0,
    parent_id TEXT NOT NULL DEFAULT '',
    displayname TEXT NOT NULL DEFAULT '',
    admin_id TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX projects_domain_id_name_key ON projects (domain_id, name) WHERE deleted = 0;
CREATE INDEX projects_page ON projects (deleted, created_at DESC, name, id);
CREATE INDEX projects_name ON projects (name);

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '',
    is_emulated INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0,
    update_version INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER,
    domain_id TEXT NOT NULL DEFAULT '',
    domain_src TEXT NOT NULL DEFAULT 'local',
    enabled INTEGER NOT NULL DEFAULT 0,
    displayname TEXT NOT NULL DEFAULT '',
    email TEXT NOT NULL DEFAULT '',
    mobile TEXT NOT NULL DEFAULT '',
    lang TEXT NOT NULL DEFAULT 'zh-CN',
    is_system_account INTEGER NOT NULL DEFAULT 0,
    allow_web_console INTEGER NOT NULL DEFAULT 1,
    enable_mfa INTEGER NOT NULL DEFAULT 0,
    expired_at INTEGER,
    default_project_id TEXT NOT NULL DEFAULT '',
    last_active_at INTEGER,
    last_login_ip TEXT NOT NULL DEFAULT '',
    last_login_source TEXT NOT NULL DEFAULT '',
    password_hash TEXT NOT NULL DEFAULT '',
    password_history TEXT NOT NULL DEFAULT 'null',
    password_changed_at INTEGER,
    password_expires_at INTEGER,
    need_reset_password INTEGER NOT NULL DEFAULT 0,
    password_reset_hint TEXT NOT NULL DEFAULT '',
    failed_auth_count INTEGER NOT NULL DEFAULT 0,
    failed_auth_at INTEGER
);
CREATE UNIQUE INDEX users_domain_id_name_key ON users (domain_id, name) WHERE deleted = 0;
CREATE INDEX users_page ON users (deleted, created_at DESC, name, id);
CREATE INDEX users_name ON users (name);
CREATE INDEX users_email ON users (email);
CREATE INDEX users_mobile ON users (mobile);

CREATE TABLE "groups" (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '',
    is_emulated INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0,
    update_version INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER,
    domain_id TEXT NOT NULL DEFAULT '',
    domain_src TEXT NOT NULL DEFAULT 'local',
    displayname TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX groups_domain_id_name_key ON "groups" (domain_id, name) WHERE deleted = 0;
CREATE INDEX groups_page ON "groups" (deleted, created_at DESC, name, id);

CREATE TABLE roles (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '',
    is_emulated INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0,
    update_version INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER,
    domain_id TEXT NOT NULL DEFAULT '',
    domain_src TEXT NOT NULL DEFAULT 'local',
    is_public INTEGER NOT NULL DEFAULT 0,
    public_scope TEXT NOT NULL DEFAULT 'none',
    public_src TEXT NOT NULL DEFAULT 'local',
    shared_project_ids TEXT NOT NULL DEFAULT 'null',
    shared_domain_ids TEXT NOT NULL DEFAULT 'null'
);
CREATE UNIQUE INDEX roles_domain_id_name_key ON roles (domain_id, name) WHERE deleted = 0;
CREATE INDEX roles_page ON roles (deleted, created_at DESC, name, id);
CREATE INDEX roles_name ON roles (name);

CREATE TABLE policies (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '',
    is_emulated INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0,
    update_version INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER,
    domain_id TEXT NOT NULL DEFAULT '',
    domain_src TEXT NOT NULL DEFAULT 'local',
    enabled INTEGER NOT NULL DEFAULT 0,
    is_public INTEGER NOT NULL DEFAULT 0,
    public_scope TEXT NOT NULL DEFAULT 'none',
    public_src TEXT NOT NULL DEFAULT 'local',
    shared_project_ids TEXT NOT NULL DEFAULT 'null',
    shared_domain_ids TEXT NOT NULL DEFAULT 'null',
    blob TEXT NOT NULL DEFAULT 'null',
    scope TEXT NOT NULL DEFAULT 'project',
    builtin INTEGER NOT NULL DEFAULT 0,
    project_tags TEXT NOT NULL DEFAULT 'null',
    domain_tags TEXT NOT NULL DEFAULT 'null',
    object_tags TEXT NOT NULL DEFAULT 'null'
);
CREATE UNIQUE INDEX policies_domain_id_name_key ON policies (domain_id, name) WHERE deleted = 0;
CREATE INDEX policies_page ON policies (deleted, created_at DESC, name, id);

CREATE TABLE rolepolicies (
    id TEXT NOT NULL PRIMARY KEY,
    description TEXT NOT NULL DEFAULT '',
    role_id TEXT NOT NULL DEFAULT '',
    project_id TEXT NOT NULL DEFAULT '',
    policy_id TEXT NOT NULL DEFAULT '',
    auth INTEGER NOT NULL DEFAULT 1,
    ips TEXT NOT NULL DEFAULT 'null',
    valid_since INTEGER,
    valid_until INTEGER,
    created_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0,
    update_version INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER
);
CREATE INDEX rolepolicies_role_id ON rolepolicies (role_id);
CREATE INDEX rolepolicies_policy_id ON rolepolicies (policy_id);
CREATE INDEX rolepolicies_project_id ON rolepolicies (project_id);

CREATE TABLE services (
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
    type TEXT NOT NULL DEFAULT '',
    extra TEXT NOT NULL DEFAULT 'null',
    config_version INTEGER NOT NULL DEFAULT 0,
    config TEXT NOT NULL DEFAULT 'null',
    sealed_config TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX services_name_key ON services (name) WHERE deleted = 0;
CREATE INDEX services_page ON services (deleted, created_at DESC, name, id);

CREATE TABLE endpoints (
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
    interface TEXT NOT NULL DEFAULT '',
    service_id TEXT NOT NULL DEFAULT '',
    url TEXT NOT NULL DEFAULT '',
    region_id TEXT NOT NULL DEFAULT '',
    service_certificate_id TEXT NOT NULL DEFAULT ''
);
CREATE INDEX endpoints_page ON endpoints (deleted, created_at DESC, name, id);
CREATE INDEX endpoints_service_id ON endpoints (service_id);
CREATE INDEX endpoints_region_id ON endpoints (region_id);

CREATE TABLE regions (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL DEFAULT '',
    description TEXT NOT NULL DEFAULT '',
    is_emulated INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0,
    update_version INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER,
    parent_region_id TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX regions_name_key ON regions (name) WHERE deleted = 0;
CREATE INDEX regions_page ON regions (deleted, created_at DESC, name, id);

CREATE TABLE credentials (
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
    owner_id TEXT NOT NULL DEFAULT '',
    project_id TEXT NOT NULL DEFAULT '',
    type TEXT NOT NULL DEFAULT '',
    expired_at INTEGER,
    sealed_blob TEXT NOT NULL DEFAULT '',
    key_hash TEXT NOT NULL DEFAULT ''
);
CREATE INDEX credentials_page ON credentials (deleted, created_at DESC, name, id);
CREATE INDEX credentials_owner_id_type ON credentials (owner_id, type);

CREATE TABLE assignments (
    id TEXT NOT NULL PRIMARY KEY,
    type TEXT NOT NULL DEFAULT '',
    actor_id TEXT NOT NULL DEFAULT '',
    target_id TEXT NOT NULL DEFAULT '',
    role_id TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX assignments_target_id_actor_id ON assignments (target_id, actor_id);
CREATE INDEX assignments_actor_id ON assignments (actor_id);
CREATE INDEX assignments_role_id ON assignments (role_id);

CREATE TABLE memberships (
    id TEXT NOT NULL PRIMARY KEY,
    group_id TEXT NOT NULL DEFAULT '',
    user_id TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX memberships_group_id ON memberships (group_id);
CREATE INDEX memberships_user_id ON memberships (user_id);

-- Keys that tokens are signed with; the private half is sealed. A key signs from active_at to retires_at and is believed until every token it signed has run out.
CREATE TABLE signing_keys (
    id TEXT NOT NULL PRIMARY KEY,
    public_key TEXT NOT NULL,
    sealed_key TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    active_at INTEGER NOT NULL,
    retires_at INTEGER NOT NULL
);

-- Tokens that are void before they run out (spec 02 §2.5): those of a chain, user, project, grant or access key issued up to `before`.
CREATE TABLE revocations (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    before INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    token TEXT NOT NULL DEFAULT ''
);
CREATE INDEX revocations_expires_at ON revocations (expires_at);
