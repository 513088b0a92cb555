CREATE TABLE identity_quotas (
    domain_id TEXT COLLATE "C" NOT NULL,
    counter TEXT COLLATE "C" NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (domain_id, counter)
);
