-- What a host did about a difference, since one that it tells again just as it stands is the same and
-- no second one. What was noted before this has none, and counts as another.
--
-- A place is never given twice, also not after the newest was forgotten with its host: whoever has
-- seen up to a place would miss what came there later. No column can be made so afterwards.
CREATE TABLE drift_anew (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    host BLOB NOT NULL,
    receipt INTEGER NOT NULL,
    item INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    part TEXT NOT NULL,
    severity INTEGER NOT NULL,
    open INTEGER NOT NULL CHECK (open IN (0, 1)),
    since INTEGER,
    by_login TEXT NOT NULL DEFAULT '',
    found BLOB CHECK (found IS NULL OR length(found) = 32),
    response TEXT,
    UNIQUE (host, receipt, item)
) STRICT;
INSERT INTO drift_anew
    (place, host, receipt, item, kind, subject, part, severity, open, since, by_login, found)
    SELECT place, host, receipt, item, kind, subject, part, severity, open, since, by_login, found
    FROM drift;
DROP TABLE drift;
ALTER TABLE drift_anew RENAME TO drift;
CREATE UNIQUE INDEX open_drift ON drift (host, kind, subject, part) WHERE open = 1;
CREATE INDEX drift_of_host ON drift (host, open, place);
