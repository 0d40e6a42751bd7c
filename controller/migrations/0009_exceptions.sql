-- The digest of what was found, since an exception is for that and for nothing that comes later. What
-- was noted before this gets it when somebody accepts it.
ALTER TABLE drift ADD COLUMN found BLOB CHECK (found IS NULL OR length(found) = 32);

-- Drift that somebody has accepted until a date: one thing on one host, as it was found. The log has
-- who ended one before its date; one that has ended by itself is without effect.
CREATE TABLE exceptions (
    host BLOB NOT NULL CHECK (length(host) = 32),
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    part TEXT NOT NULL,
    found BLOB NOT NULL CHECK (length(found) = 32),
    until INTEGER NOT NULL,
    made INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (host, kind, subject, part)
) STRICT, WITHOUT ROWID;
