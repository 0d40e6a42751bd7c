-- Where a host's receipts do not fit onto one another. `place` is the one in the log, whose body is
-- the receipt that showed it; `known` is the newest that was stored then.
CREATE TABLE receipt_breaks (
    place INTEGER PRIMARY KEY,
    host BLOB NOT NULL REFERENCES hosts (id),
    number INTEGER NOT NULL,
    digest BLOB NOT NULL,
    known INTEGER NOT NULL,
    kind TEXT NOT NULL,
    found INTEGER NOT NULL,
    UNIQUE (host, number, digest)
) STRICT;
