CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    obj_type TEXT NOT NULL, obj_id TEXT NOT NULL, obj_name TEXT NOT NULL, action TEXT NOT NULL, notes TEXT NOT NULL,
    ops_time INTEGER NOT NULL,
    user_id TEXT NOT NULL, user TEXT NOT NULL, domain_id TEXT NOT NULL, domain TEXT NOT NULL,
    tenant_id TEXT NOT NULL, tenant TEXT NOT NULL, project_domain_id TEXT NOT NULL, project_domain TEXT NOT NULL, roles TEXT NOT NULL,
    owner_domain_id TEXT NOT NULL, owner_tenant_id TEXT NOT NULL,
    request_id TEXT NOT NULL, ip TEXT NOT NULL
);
CREATE INDEX events_object ON events (obj_id, id);
CREATE INDEX events_owner ON events (owner_tenant_id, id);
CREATE INDEX events_time ON events (ops_time);
CREATE TABLE metadata (
    obj_type TEXT NOT NULL, obj_id TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, updated_at INTEGER NOT NULL,
    PRIMARY KEY (obj_id, obj_type, key)
) WITHOUT ROWID;
CREATE INDEX metadata_key ON metadata (key, value);
