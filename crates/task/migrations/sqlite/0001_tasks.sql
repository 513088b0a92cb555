-- Bounded work (spec 01 §13). holder is the worker that has the task, epoch rises with every worker that takes it; next_at is NULL once nothing is to be done.
CREATE TABLE tasks (
    id TEXT NOT NULL PRIMARY KEY,
    obj_type TEXT NOT NULL DEFAULT '',
    obj_id TEXT NOT NULL DEFAULT '',
    object TEXT NOT NULL DEFAULT '',
    task_name TEXT NOT NULL DEFAULT '',
    stage TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT '',
    progress INTEGER NOT NULL DEFAULT 0,
    params TEXT NOT NULL DEFAULT 'null',
    user_cred TEXT NOT NULL DEFAULT 'null',
    parent_task_id TEXT NOT NULL DEFAULT '',
    domain_id TEXT NOT NULL DEFAULT '',
    tenant_id TEXT NOT NULL DEFAULT '',
    request_id TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0,
    start_at INTEGER,
    end_at INTEGER,
    error TEXT NOT NULL DEFAULT 'null',
    result TEXT NOT NULL DEFAULT 'null',
    committed INTEGER NOT NULL DEFAULT 0,
    update_version INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0,
    holder TEXT NOT NULL DEFAULT '',
    next_at INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT 0
);
-- What may be taken, the longest waiting first; and what a dead worker had.
CREATE INDEX tasks_holder ON tasks (holder, next_at);
CREATE INDEX tasks_obj_id ON tasks (obj_id);
CREATE INDEX tasks_parent ON tasks (parent_task_id);
CREATE INDEX tasks_end_at ON tasks (end_at);
CREATE INDEX tasks_tenant_id ON tasks (tenant_id, created_at);

CREATE TABLE archived_tasks (
    id TEXT NOT NULL PRIMARY KEY,
    obj_type TEXT NOT NULL DEFAULT '',
    obj_id TEXT NOT NULL DEFAULT '',
    object TEXT NOT NULL DEFAULT '',
    task_name TEXT NOT NULL DEFAULT '',
    stage TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT '',
    progress INTEGER NOT NULL DEFAULT 0,
    params TEXT NOT NULL DEFAULT 'null',
    user_cred TEXT NOT NULL DEFAULT 'null',
    parent_task_id TEXT NOT NULL DEFAULT '',
    domain_id TEXT NOT NULL DEFAULT '',
    tenant_id TEXT NOT NULL DEFAULT '',
    request_id TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL DEFAULT 0,
    start_at INTEGER,
    end_at INTEGER,
    error TEXT NOT NULL DEFAULT 'null',
    result TEXT NOT NULL DEFAULT 'null',
    committed INTEGER NOT NULL DEFAULT 0,
    history TEXT NOT NULL DEFAULT 'null',
    update_version INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX archived_tasks_end_at ON archived_tasks (end_at);
CREATE INDEX archived_tasks_obj_id ON archived_tasks (obj_id);
CREATE INDEX archived_tasks_tenant_id ON archived_tasks (tenant_id, created_at);

-- The journal: one row per step and direction, written in the transaction of the step.
CREATE TABLE task_steps (
    task_id TEXT NOT NULL,
    phase TEXT NOT NULL,
    name TEXT NOT NULL,
    seq INTEGER NOT NULL,
    state TEXT NOT NULL,
    output TEXT NOT NULL DEFAULT 'null',
    error TEXT NOT NULL DEFAULT 'null',
    attempts INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    PRIMARY KEY (task_id, phase, name)
) WITHOUT ROWID;

-- Objects a task works on alone.
CREATE TABLE task_holds (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX task_holds_task_id ON task_holds (task_id);

-- Running workers; tasks of a worker that is not here, or too late, are taken over.
CREATE TABLE task_workers (
    holder TEXT NOT NULL PRIMARY KEY,
    node TEXT NOT NULL,
    lease_until INTEGER NOT NULL
) WITHOUT ROWID;
