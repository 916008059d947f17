-- A broker that dies forgets acknowledgements that it had heard, and gives those messages out again as if for the first time; one
-- that waits for a silent client gives out what that held much later. So what was committed is remembered for longer.

ALTER TABLE unsettled ADD COLUMN settled BOOLEAN NOT NULL DEFAULT false;
-- The broker started anew since: it may have forgotten that this was acknowledged.
ALTER TABLE unsettled ADD COLUMN recovered BOOLEAN NOT NULL DEFAULT false;
-- When it is forgotten.
ALTER TABLE unsettled ADD COLUMN until_us BIGINT NOT NULL DEFAULT 0;
CREATE INDEX unsettled_until ON unsettled (until_us);
