-- When a difference began, as far as the host can tell, and the login user who made it; empty: nobody
-- knows. Only to find it by: both are in the receipt. What was noted before this has neither, and is
-- found by neither.
ALTER TABLE drift ADD COLUMN since INTEGER;
ALTER TABLE drift ADD COLUMN by_login TEXT NOT NULL DEFAULT '';
