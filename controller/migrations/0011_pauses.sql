-- In which receipt each host that is paused said so the last time. What it said of it, and signed, is in
-- that receipt alone.
CREATE TABLE pauses (
    host BLOB PRIMARY KEY CHECK (length(host) = 32),
    receipt INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
