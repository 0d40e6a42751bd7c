-- What an operator has decided about a host; no row: nothing. A ban outlives the host's record, so
-- that a host that was forgotten does not come back by it.
CREATE TABLE decisions (
    host BLOB PRIMARY KEY CHECK (length(host) = 32),
    verdict TEXT NOT NULL CHECK (verdict IN ('quarantined', 'evicted', 'banned')),
    decided INTEGER NOT NULL,
    decided_by TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO decisions (host, verdict, decided, decided_by, reason)
    SELECT host, 'banned', banned, '', '' FROM bans;
DROP TABLE bans;

-- What a host signed stays when its record is forgotten, so it hangs on no record any more.
CREATE TABLE kept_receipts (
    host BLOB NOT NULL,
    number INTEGER NOT NULL,
    digest BLOB NOT NULL,
    floor INTEGER,
    envelope BLOB NOT NULL,
    PRIMARY KEY (host, number)
) STRICT;
INSERT INTO kept_receipts SELECT host, number, digest, floor, envelope FROM receipts;
DROP TABLE receipts;
ALTER TABLE kept_receipts RENAME TO receipts;

CREATE TABLE kept_breaks (
    place INTEGER PRIMARY KEY,
    host BLOB NOT NULL,
    number INTEGER NOT NULL,
    digest BLOB NOT NULL,
    known INTEGER NOT NULL,
    kind TEXT NOT NULL,
    found INTEGER NOT NULL,
    UNIQUE (host, number, digest)
) STRICT;
INSERT INTO kept_breaks SELECT place, host, number, digest, known, kind, found FROM receipt_breaks;
DROP TABLE receipt_breaks;
ALTER TABLE kept_breaks RENAME TO receipt_breaks;
