-- Bounded work (spec 01 §13). holder is the worker that has the task, epoch rises with every worker that takes it; next_at is NULL once nothing is to be done.
CREATE TABLE tasks (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    obj_type TEXT COLLATE "C" NOT NULL DEFAULT '',
    obj_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    object TEXT COLLATE "C" NOT NULL DEFAULT '',
    task_name TEXT COLLATE "C" NOT NULL DEFAULT '',
    stage TEXT COLLATE "C" NOT NULL DEFAULT '',
    status TEXT COLLATE "C" NOT NULL DEFAULT '',
    progress BIGINT NOT NULL DEFAULT 0,
    params TEXT NOT NULL DEFAULT 'null',
    user_cred TEXT NOT NULL DEFAULT 'null',
    parent_task_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    domain_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    tenant_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    request_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    start_at BIGINT,
    end_at BIGINT,
    error TEXT NOT NULL DEFAULT 'null',
    result TEXT NOT NULL DEFAULT 'null',
    committed BOOLEAN NOT NULL DEFAULT FALSE,
    update_version BIGINT NOT NULL DEFAULT 0,
    epoch BIGINT NOT NULL DEFAULT 0,
    holder TEXT COLLATE "C" NOT NULL DEFAULT '',
    next_at BIGINT,
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE
);
-- What may be taken, the longest waiting first; and what a dead worker had.
CREATE INDEX tasks_holder ON tasks (holder, next_at);
CREATE INDEX tasks_obj_id ON tasks (obj_id);
CREATE INDEX tasks_parent ON tasks (parent_task_id);
CREATE INDEX tasks_end_at ON tasks (end_at);
CREATE INDEX tasks_tenant_id ON tasks (tenant_id, created_at);

CREATE TABLE archived_tasks (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    obj_type TEXT COLLATE "C" NOT NULL DEFAULT '',
    obj_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    object TEXT COLLATE "C" NOT NULL DEFAULT '',
    task_name TEXT COLLATE "C" NOT NULL DEFAULT '',
    stage TEXT COLLATE "C" NOT NULL DEFAULT '',
    status TEXT COLLATE "C" NOT NULL DEFAULT '',
    progress BIGINT NOT NULL DEFAULT 0,
    params TEXT NOT NULL DEFAULT 'null',
    user_cred TEXT NOT NULL DEFAULT 'null',
    parent_task_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    domain_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    tenant_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    request_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0,
    start_at BIGINT,
    end_at BIGINT,
    error TEXT NOT NULL DEFAULT 'null',
    result TEXT NOT NULL DEFAULT 'null',
    committed BOOLEAN NOT NULL DEFAULT FALSE,
    history TEXT NOT NULL DEFAULT 'null',
    update_version BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX archived_tasks_end_at ON archived_tasks (end_at);
CREATE INDEX archived_tasks_obj_id ON archived_tasks (obj_id);
CREATE INDEX archived_tasks_tenant_id ON archived_tasks (tenant_id, created_at);

-- The journal: one row per step and direction, written in the transaction of the step.
CREATE TABLE task_steps (
    task_id TEXT COLLATE "C" NOT NULL,
    phase TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    output TEXT NOT NULL DEFAULT 'null',
    error TEXT NOT NULL DEFAULT 'null',
    attempts BIGINT NOT NULL DEFAULT 0,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    PRIMARY KEY (task_id, phase, name)
);

-- Objects a task works on alone.
CREATE TABLE task_holds (
    kind TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    task_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX task_holds_task_id ON task_holds (task_id);

-- Running workers; tasks of a worker that is not here, or too late, are taken over.
CREATE TABLE task_workers (
    holder TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    node TEXT COLLATE "C" NOT NULL,
    lease_until BIGINT NOT NULL
);
