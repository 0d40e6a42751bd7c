-- In which receipt each host told its accounts the last time. What it said of them, and signed, is in
-- that receipt alone.
CREATE TABLE inventories (
    host BLOB PRIMARY KEY CHECK (length(host) = 32),
    receipt INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
