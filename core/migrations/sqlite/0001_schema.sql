-- The job table and what belongs to it. Times are microseconds since 1970, UTC.

-- Who leads: one row. The epoch only grows; every scheduling transaction is conditioned on it.
CREATE TABLE leadership (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    holder TEXT NOT NULL,
    ends_us BIGINT NOT NULL,
    epoch BIGINT NOT NULL
);
INSERT INTO leadership (id, holder, ends_us, epoch) VALUES (1, '', 0, 0);

-- What is to do, and what was done.
-- state: waiting, running, publishing (uploads are going on), storing (recorded, result.tar is on its way), done,
--        parked, cancelled, obsolete.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    uuid TEXT NOT NULL UNIQUE,
    identity TEXT NOT NULL,
    context TEXT NOT NULL,
    release TEXT NOT NULL,
    arch TEXT NOT NULL,
    package TEXT NOT NULL,
    pool TEXT NOT NULL,
    body TEXT NOT NULL,
    run_hash TEXT NOT NULL,
    private BOOLEAN NOT NULL,
    requesters TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    attempts BIGINT NOT NULL,
    not_before_us BIGINT NOT NULL,
    received_us BIGINT NOT NULL,
    changed_us BIGINT NOT NULL,
    answer_code BIGINT,
    answer_log TEXT
);
CREATE INDEX jobs_waiting ON jobs (pool, id) WHERE state = 'waiting';
CREATE INDEX jobs_waiting_id ON jobs (id) WHERE state = 'waiting';
CREATE INDEX jobs_same ON jobs (identity) WHERE state IN ('waiting', 'running');
CREATE INDEX jobs_open ON jobs (state, id) WHERE state IN ('waiting', 'running', 'publishing', 'storing', 'parked');
CREATE INDEX jobs_open_package ON jobs (package, release, arch)
    WHERE state IN ('waiting', 'running', 'publishing', 'storing', 'parked');

-- Every uuid that a job is known by: its own, and those of the requests that became it.
CREATE TABLE job_uuids (
    uuid TEXT PRIMARY KEY,
    job_id BIGINT NOT NULL REFERENCES jobs (id)
);
CREATE INDEX job_uuids_job ON job_uuids (job_id);

-- One execution of a job by one worker, under a lease (which lives with the leader).
-- state: running, publishing, recorded (its result is committed), ended (without a result).
CREATE TABLE attempts (
    job_id BIGINT NOT NULL REFERENCES jobs (id),
    attempt BIGINT NOT NULL,
    worker TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    host TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    granted_us BIGINT NOT NULL,
    absolute_end_us BIGINT NOT NULL,
    state TEXT NOT NULL,
    container TEXT,
    run_id TEXT,
    exit_code BIGINT,
    version TEXT,
    duration_seconds BIGINT,
    fault TEXT,
    detail TEXT,
    ended_us BIGINT,
    PRIMARY KEY (job_id, attempt)
);
CREATE INDEX attempts_open ON attempts (job_id) WHERE state IN ('running', 'publishing');

-- The last run id that was granted in each series: the next one must be greater.
CREATE TABLE series (
    container TEXT NOT NULL,
    release TEXT NOT NULL,
    arch TEXT NOT NULL,
    package TEXT NOT NULL,
    last_run_id TEXT NOT NULL,
    PRIMARY KEY (container, release, arch, package)
);

-- The index of what lies in the store; append-only. Shown once it is stored.
CREATE TABLE results (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id BIGINT REFERENCES jobs (id),
    container TEXT NOT NULL,
    release TEXT NOT NULL,
    arch TEXT NOT NULL,
    package TEXT NOT NULL,
    run_id TEXT NOT NULL,
    uuid TEXT,
    version TEXT NOT NULL,
    triggers TEXT,
    env TEXT,
    requester TEXT,
    exit_code BIGINT NOT NULL,
    duration_seconds BIGINT NOT NULL,
    private BOOLEAN NOT NULL,
    readable_by TEXT NOT NULL,
    stored BOOLEAN NOT NULL,
    recorded_us BIGINT NOT NULL,
    UNIQUE (container, release, arch, package, run_id)
);
CREATE INDEX results_package ON results (package, release, arch, run_id);
CREATE INDEX results_recent ON results (run_id, id);
CREATE INDEX results_requester ON results (requester, run_id) WHERE requester IS NOT NULL;
CREATE INDEX results_job ON results (job_id) WHERE job_id IS NOT NULL;

-- What a committed decision still has to do outside. kind: publish, sweep.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    job_id BIGINT NOT NULL REFERENCES jobs (id),
    container TEXT NOT NULL,
    reader TEXT,
    folder TEXT NOT NULL,
    result_tar BLOB,
    log_gz BLOB,
    message TEXT,
    not_before_us BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    error TEXT
);
CREATE INDEX outbox_due ON outbox (not_before_us, id);

-- What could not be taken, whole but for credentials, with the reason.
CREATE TABLE rejected (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    body BLOB NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    received_us BIGINT NOT NULL
);

-- What was committed but perhaps not acknowledged: a redelivered message that equals one of these has no effect.
CREATE TABLE unsettled (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session BIGINT NOT NULL,
    queue TEXT NOT NULL,
    digest TEXT NOT NULL
);
CREATE INDEX unsettled_digest ON unsettled (digest, queue);

-- Workers as they last announced themselves.
CREATE TABLE workers (
    name TEXT PRIMARY KEY,
    incarnation TEXT NOT NULL,
    host TEXT NOT NULL,
    pools TEXT NOT NULL,
    slots BIGINT NOT NULL,
    draining BOOLEAN NOT NULL,
    unable TEXT,
    version TEXT NOT NULL,
    seen_us BIGINT NOT NULL
);

-- API tokens, hashed.
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    person TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    ends_us BIGINT NOT NULL,
    revoked BOOLEAN NOT NULL
);

-- What each person asked for by HTTP, for the rate limit; old rows are deleted.
CREATE TABLE asked (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person TEXT NOT NULL,
    asked_us BIGINT NOT NULL
);
CREATE INDEX asked_person ON asked (person, asked_us);
