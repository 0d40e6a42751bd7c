-- How grave what was accepted may be: what becomes graver is drift again, though the words stay.
-- One that was made before this is for the gravest that was told of just this.
ALTER TABLE exceptions ADD COLUMN gravest INTEGER NOT NULL DEFAULT 0;
UPDATE exceptions SET gravest = coalesce(
    (SELECT max(severity) FROM drift
     WHERE drift.host = exceptions.host AND drift.kind = exceptions.kind
         AND drift.subject = exceptions.subject AND drift.part = exceptions.part
         AND drift.found = exceptions.found), 0);
