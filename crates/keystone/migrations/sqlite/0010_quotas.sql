CREATE TABLE identity_quotas (
    domain_id TEXT NOT NULL,
    counter TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (domain_id, counter)
);
