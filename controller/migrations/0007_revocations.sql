-- Two revocations may have one id: what the online key signed and an approver signs too, or another
-- one that somebody called the same. Both count.
CREATE TABLE kept_revocations (
    place INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    envelope BLOB NOT NULL,
    arrived INTEGER NOT NULL
) STRICT;
INSERT INTO kept_revocations SELECT place, id, envelope, arrived FROM revocations;
DROP TABLE revocations;
ALTER TABLE kept_revocations RENAME TO revocations;
