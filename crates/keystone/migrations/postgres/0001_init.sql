-- Identity (spec 02). Names are unique among living rows; lists go by created_at, newest first.

CREATE TABLE domains (
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
    displayname TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX domains_name_key ON domains (name) WHERE NOT deleted;
CREATE INDEX domains_page ON domains (deleted, created_at DESC, name, id);

CREATE TABLE projects (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL DEFAULT '',
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    is_emulated BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    update_version BIGINT NOT NULL DEFAULT 0,
    deleted BOOLEAN NOT NULL DEFAULT FALSE,
    deleted_at BIGINT,
    domain_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    domain_src TEXT COLLATE "C" NOT NULL DEFAULT 'local',
    enabled BOOLEAN NOT NULL DEFAULT FALSE,
    parent_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    displayname TEXT COLLATE "C" NOT NULL DEFAULT '',
    admin_id TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX projects_domain_id_name_key ON projects (domain_id, name) WHERE NOT deleted;
CREATE INDEX projects_page ON projects (deleted, created_at DESC, name, id);
CREATE INDEX projects_name ON projects (name);

CREATE TABLE users (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL DEFAULT '',
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    is_emulated BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    update_version BIGINT NOT NULL DEFAULT 0,
    deleted BOOLEAN NOT NULL DEFAULT FALSE,
    deleted_at BIGINT,
    domain_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    domain_src TEXT COLLATE "C" NOT NULL DEFAULT 'local',
    enabled BOOLEAN NOT NULL DEFAULT FALSE,
    displayname TEXT COLLATE "C" NOT NULL DEFAULT '',
    email TEXT COLLATE "C" NOT NULL DEFAULT '',
    mobile TEXT COLLATE "C" NOT NULL DEFAULT '',
    lang TEXT COLLATE "C" NOT NULL DEFAULT 'zh-CN',
    is_system_account BOOLEAN NOT NULL DEFAULT FALSE,
    allow_web_console BOOLEAN NOT NULL DEFAULT true,
    enable_mfa BOOLEAN NOT NULL DEFAULT FALSE,
    expired_at BIGINT,
    default_project_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    last_active_at BIGINT,
    last_login_ip TEXT COLLATE "C" NOT NULL DEFAULT '',
    last_login_source TEXT COLLATE "C" NOT NULL DEFAULT '',
    password_hash TEXT COLLATE "C" NOT NULL DEFAULT '',
    password_history TEXT NOT NULL DEFAULT 'null',
    password_changed_at BIGINT,
    password_expires_at BIGINT,
    need_reset_password BOOLEAN NOT NULL DEFAULT FALSE,
    password_reset_hint TEXT COLLATE "C" NOT NULL DEFAULT '',
    failed_auth_count BIGINT NOT NULL DEFAULT 0,
    failed_auth_at BIGINT
);
CREATE UNIQUE INDEX users_domain_id_name_key ON users (domain_id, name) WHERE NOT deleted;
CREATE INDEX users_page ON users (deleted, created_at DESC, name, id);
CREATE INDEX users_name ON users (name);
CREATE INDEX users_email ON users (email);
CREATE INDEX users_mobile ON users (mobile);

CREATE TABLE groups (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL DEFAULT '',
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    is_emulated BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    update_version BIGINT NOT NULL DEFAULT 0,
    deleted BOOLEAN NOT NULL DEFAULT FALSE,
    deleted_at BIGINT,
    domain_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    domain_src TEXT COLLATE "C" NOT NULL DEFAULT 'local',
    displayname TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX groups_domain_id_name_key ON groups (domain_id, name) WHERE NOT deleted;
CREATE INDEX groups_page ON groups (deleted, created_at DESC, name, id);

CREATE TABLE roles (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL DEFAULT '',
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    is_emulated BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    update_version BIGINT NOT NULL DEFAULT 0,
    deleted BOOLEAN NOT NULL DEFAULT FALSE,
    deleted_at BIGINT,
    domain_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    domain_src TEXT COLLATE "C" NOT NULL DEFAULT 'local',
    is_public BOOLEAN NOT NULL DEFAULT FALSE,
    public_scope TEXT COLLATE "C" NOT NULL DEFAULT 'none',
    public_src TEXT COLLATE "C" NOT NULL DEFAULT 'local',
    shared_project_ids TEXT NOT NULL DEFAULT 'null',
    shared_domain_ids TEXT NOT NULL DEFAULT 'null'
);
CREATE UNIQUE INDEX roles_domain_id_name_key ON roles (domain_id, name) WHERE NOT deleted;
CREATE INDEX roles_page ON roles (deleted, created_at DESC, name, id);
CREATE INDEX roles_name ON roles (name);

CREATE TABLE policies (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL DEFAULT '',
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    is_emulated BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    update_version BIGINT NOT NULL DEFAULT 0,
    deleted BOOLEAN NOT NULL DEFAULT FALSE,
    deleted_at BIGINT,
    domain_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    domain_src TEXT COLLATE "C" NOT NULL DEFAULT 'local',
    enabled BOOLEAN NOT NULL DEFAULT FALSE,
    is_public BOOLEAN NOT NULL DEFAULT FALSE,
    public_scope TEXT COLLATE "C" NOT NULL DEFAULT 'none',
    public_src TEXT COLLATE "C" NOT NULL DEFAULT 'local',
    shared_project_ids TEXT NOT NULL DEFAULT 'null',
    shared_domain_ids TEXT NOT NULL DEFAULT 'null',
    blob TEXT NOT NULL DEFAULT 'null',
    scope TEXT COLLATE "C" NOT NULL DEFAULT 'project',
    builtin BOOLEAN NOT NULL DEFAULT FALSE,
    project_tags TEXT NOT NULL DEFAULT 'null',
    domain_tags TEXT NOT NULL DEFAULT 'null',
    object_tags TEXT NOT NULL DEFAULT 'null'
);
CREATE UNIQUE INDEX policies_domain_id_name_key ON policies (domain_id, name) WHERE NOT deleted;
CREATE INDEX policies_page ON policies (deleted, created_at DESC, name, id);

CREATE TABLE rolepolicies (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    role_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    project_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    policy_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    auth BOOLEAN NOT NULL DEFAULT true,
    ips TEXT NOT NULL DEFAULT 'null',
    valid_since BIGINT,
    valid_until BIGINT,
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    update_version BIGINT NOT NULL DEFAULT 0,
    deleted BOOLEAN NOT NULL DEFAULT FALSE,
    deleted_at BIGINT
);
CREATE INDEX rolepolicies_role_id ON rolepolicies (role_id);
CREATE INDEX rolepolicies_policy_id ON rolepolicies (policy_id);
CREATE INDEX rolepolicies_project_id ON rolepolicies (project_id);

CREATE TABLE services (
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
    type TEXT COLLATE "C" NOT NULL DEFAULT '',
    extra TEXT NOT NULL DEFAULT 'null',
    config_version BIGINT NOT NULL DEFAULT 0,
    config TEXT NOT NULL DEFAULT 'null',
    sealed_config TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX services_name_key ON services (name) WHERE NOT deleted;
CREATE INDEX services_page ON services (deleted, created_at DESC, name, id);

CREATE TABLE endpoints (
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
    interface TEXT COLLATE "C" NOT NULL DEFAULT '',
    service_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    url TEXT COLLATE "C" NOT NULL DEFAULT '',
    region_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    service_certificate_id TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX endpoints_page ON endpoints (deleted, created_at DESC, name, id);
CREATE INDEX endpoints_service_id ON endpoints (service_id);
CREATE INDEX endpoints_region_id ON endpoints (region_id);

CREATE TABLE regions (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL DEFAULT '',
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    is_emulated BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    update_version BIGINT NOT NULL DEFAULT 0,
    deleted BOOLEAN NOT NULL DEFAULT FALSE,
    deleted_at BIGINT,
    parent_region_id TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX regions_name_key ON regions (name) WHERE NOT deleted;
CREATE INDEX regions_page ON regions (deleted, created_at DESC, name, id);

CREATE TABLE credentials (
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
    owner_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    project_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    type TEXT COLLATE "C" NOT NULL DEFAULT '',
    expired_at BIGINT,
    sealed_blob TEXT COLLATE "C" NOT NULL DEFAULT '',
    key_hash TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX credentials_page ON credentials (deleted, created_at DESC, name, id);
CREATE INDEX credentials_owner_id_type ON credentials (owner_id, type);

CREATE TABLE assignments (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    type TEXT COLLATE "C" NOT NULL DEFAULT '',
    actor_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    target_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    role_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX assignments_target_id_actor_id ON assignments (target_id, actor_id);
CREATE INDEX assignments_actor_id ON assignments (actor_id);
CREATE INDEX assignments_role_id ON assignments (role_id);

CREATE TABLE memberships (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    group_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    user_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX memberships_group_id ON memberships (group_id);
CREATE INDEX memberships_user_id ON memberships (user_id);

-- Keys that tokens are signed with; the private half is sealed. A key signs from active_at to retires_at and is believed until every token it signed has run out.
CREATE TABLE signing_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    public_key TEXT COLLATE "C" NOT NULL,
    sealed_key TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    active_at BIGINT NOT NULL,
    retires_at BIGINT NOT NULL
);

-- Tokens that are void before they run out (spec 02 §2.5): those of a chain, user, project, grant or access key issued up to `before`.
CREATE TABLE revocations (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    before BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    token TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX revocations_expires_at ON revocations (expires_at);
