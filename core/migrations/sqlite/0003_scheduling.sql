-- Who goes next: lanes, and what operators hold back.

-- Jobs that wait stand in lanes, and within a lane first in, first out; the leader chooses between lanes. The text is
-- core::queue::Lane's. '!': it is answered without a run. Not sorted yet: '?' where a person asked, else none.
ALTER TABLE jobs ADD COLUMN lane TEXT;
CREATE INDEX jobs_lane ON jobs (lane, id, not_before_us) WHERE state = 'waiting';
-- The first trigger, `source/version`, empty where there is none.
ALTER TABLE jobs ADD COLUMN trigger TEXT NOT NULL DEFAULT '';
-- Why an operator wants a running job to end; the leader ends it.
ALTER TABLE jobs ADD COLUMN cancel TEXT;
CREATE INDEX jobs_cancel ON jobs (id) WHERE cancel IS NOT NULL AND state = 'running';
-- Lanes and jobs_open serve their readers.
DROP INDEX jobs_waiting;
DROP INDEX jobs_waiting_id;

-- Releases, architectures and contexts whose jobs are not offered. None: any.
CREATE TABLE pauses (
    id INTEGER PRIMARY KEY,
    release TEXT,
    arch TEXT,
    context TEXT,
    person TEXT NOT NULL,
    reason TEXT NOT NULL,
    since_us BIGINT NOT NULL
);

-- How many jobs run at once at most. kind: package, trigger, requester, pool. name: one of these, or '*' for each of them
-- that has no row of its own.
CREATE TABLE caps (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    most BIGINT NOT NULL,
    person TEXT NOT NULL,
    since_us BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

-- What operators did: who, what, to how many jobs. Names of private runs are never in it.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at_us BIGINT NOT NULL,
    person TEXT NOT NULL,
    action TEXT NOT NULL,
    what TEXT NOT NULL,
    jobs BIGINT NOT NULL
);

-- What people asked for lately, for estimates.
CREATE INDEX jobs_people ON jobs (received_us) WHERE requesters <> '';
