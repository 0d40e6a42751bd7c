-- Where in the receipts drift is told, so that it can be found. What a host said of it, and signed,
-- is in its receipt alone. `open` is for the newest that was said of one thing, if it is still there.
CREATE TABLE drift (
    place INTEGER PRIMARY KEY,
    host BLOB NOT NULL,
    receipt INTEGER NOT NULL,
    item INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    part TEXT NOT NULL,
    severity INTEGER NOT NULL,
    open INTEGER NOT NULL CHECK (open IN (0, 1)),
    UNIQUE (host, receipt, item)
) STRICT;
CREATE UNIQUE INDEX open_drift ON drift (host, kind, subject, part) WHERE open = 1;
CREATE INDEX drift_of_host ON drift (host, place);
