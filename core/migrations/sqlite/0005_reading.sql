-- What pages of the past are drawn from, so that none looks through all of it. The leader sums public results up, each once,
-- behind their editions; core::db::summary says how.

-- How far that has got: results up to this edition and, within it, up to this id are in.
CREATE TABLE summed (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    edition BIGINT NOT NULL,
    result BIGINT NOT NULL
);
INSERT INTO summed (id, edition, result) VALUES (1, 0, 0);

-- How a package fares on a release and arch, by distribution runs. The newest result in which a test had its say (pass,
-- neutral, fail), or where there is none, the newest of all; the newest that passed; the first failure after it.
CREATE TABLE standings (
    release TEXT NOT NULL,
    arch TEXT NOT NULL,
    package TEXT NOT NULL,
    class TEXT NOT NULL,
    run_id TEXT NOT NULL,
    version TEXT NOT NULL,
    duration_seconds BIGINT NOT NULL,
    passed_run_id TEXT,
    passed_version TEXT,
    failing_since TEXT,
    runs BIGINT NOT NULL,
    PRIMARY KEY (package, release, arch)
);
CREATE INDEX standings_failing ON standings (release, arch, failing_since, package) WHERE failing_since IS NOT NULL;
CREATE INDEX standings_slow ON standings (release, arch, duration_seconds, package);
CREATE INDEX standings_old ON standings (release, arch, run_id, package);

-- A result that says otherwise than the one before it of the same inputs: container, version, triggers, parameters.
CREATE TABLE flips (
    container TEXT NOT NULL,
    release TEXT NOT NULL,
    arch TEXT NOT NULL,
    package TEXT NOT NULL,
    run_id TEXT NOT NULL,
    before_run_id TEXT NOT NULL,
    class TEXT NOT NULL,
    PRIMARY KEY (run_id, container, release, arch, package)
);

-- What the box for searching finds: kind: package, user, ppa (`owner-name`, as containers have it).
CREATE TABLE names (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (kind, name)
);

-- The results that an upload, `source/version`, set off.
CREATE TABLE triggers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE triggered (
    trigger BIGINT NOT NULL REFERENCES triggers (id),
    result BIGINT NOT NULL,
    PRIMARY KEY (trigger, result)
);

-- Counts and sums by the hour (its begin, in microseconds); hour 0: of all time. what: results (name: class, total: seconds),
-- waited (name: context, total: seconds), waiting and running (name: context, one count a minute), slots and busy (name:
-- pool, one count a minute), samples (one a minute), faults (name: fault), packages (name: class of their standing; of all time alone).
CREATE TABLE hours (
    what TEXT NOT NULL,
    hour BIGINT NOT NULL,
    release TEXT NOT NULL,
    arch TEXT NOT NULL,
    name TEXT NOT NULL,
    n BIGINT NOT NULL,
    total BIGINT NOT NULL,
    most BIGINT NOT NULL,
    PRIMARY KEY (what, hour, release, arch, name)
);

-- What every page says at its top, while it is time.
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY,
    level TEXT NOT NULL,
    text TEXT NOT NULL,
    begins_us BIGINT NOT NULL,
    ends_us BIGINT,
    person TEXT NOT NULL
);

CREATE INDEX results_uuid ON results (uuid) WHERE uuid IS NOT NULL;
-- Newest first of any release, arch and class. The expression is core::db::results' class_of.
CREATE INDEX results_class ON results (release, arch, (CASE WHEN exit_code IN (0, 2) THEN 'pass' WHEN exit_code = 8 THEN 'neutral'
    WHEN exit_code IN (4, 6, 12, 14) THEN 'fail' WHEN exit_code = 16 THEN 'tmpfail' WHEN exit_code = 20 THEN 'error'
    WHEN exit_code = 99 THEN 'denylisted' ELSE 'otherfail' END), run_id) WHERE stored AND NOT private;
CREATE INDEX results_container ON results (container, run_id) WHERE stored AND container <> 'autopkgtest-' || release;
-- What people asked for and is not done, and what waits for another attempt: few of all that is open.
CREATE INDEX jobs_open_people ON jobs (id)
    WHERE requesters <> '' AND state IN ('waiting', 'running', 'publishing', 'storing', 'parked');
CREATE INDEX jobs_again ON jobs (id) WHERE state = 'waiting' AND attempts > tried_before;
-- Baselines, with which gates compare.
CREATE INDEX results_baseline ON results (container, release, arch, package, run_id)
    WHERE triggers = 'migration-reference/0' AND stored AND NOT private;
-- What an upload set off and is not done; what waits in a queue.
CREATE INDEX jobs_open_trigger ON jobs (trigger, id) WHERE state IN ('waiting', 'running', 'publishing', 'storing', 'parked');
CREATE INDEX jobs_queue ON jobs (context, release, arch, id) WHERE state = 'waiting';
