-- Drift is looked for by host, by who made it, and among what is still there: each without looking at
-- what is not asked for.
CREATE INDEX drift_of_host_by_place ON drift (host, place);
CREATE INDEX drift_by_login ON drift (by_login, place);
CREATE INDEX drift_still_there ON drift (severity, place) WHERE open = 1;
CREATE INDEX drift_still_there_by_place ON drift (place) WHERE open = 1;
