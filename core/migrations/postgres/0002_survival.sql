-- What it takes to survive: rules that decide, operators who retry, hosts that are set aside, workers that retire.

-- The rule of the log that decided, by its name.
ALTER TABLE attempts ADD COLUMN rule TEXT COLLATE "C";
-- What decided that this is a result: exit-code, a rule of the log, never-run, switched-off, bad-request, parked. None where
-- another system wrote it.
ALTER TABLE results ADD COLUMN rule TEXT COLLATE "C";
-- Attempts that were made before an operator last had the job retried: they do not count any more.
ALTER TABLE jobs ADD COLUMN tried_before BIGINT NOT NULL DEFAULT 0;
-- What an operator wants of a worker: work, drain (take nothing new), retire (drain, then end).
ALTER TABLE workers ADD COLUMN wanted TEXT COLLATE "C" NOT NULL DEFAULT 'work';

-- How hosts fared lately.
CREATE INDEX attempts_ended ON attempts (ended_us) WHERE ended_us IS NOT NULL;

-- How far `proofhouse reindex` got in each container, so that it can go on after it was stopped.
CREATE TABLE reindexed (
    container TEXT COLLATE "C" PRIMARY KEY,
    marker TEXT COLLATE "C" NOT NULL,
    finished BOOLEAN NOT NULL
);

-- The edition of the published database that a stored result was first taken into; none: not yet. An edition is the set of
-- all results with its number or a smaller one, whoever writes it.
ALTER TABLE results ADD COLUMN edition BIGINT;
CREATE INDEX results_unpublished ON results (id) WHERE stored AND edition IS NULL;
CREATE INDEX results_edition ON results (edition, id) WHERE edition IS NOT NULL;
-- In which job table editions are counted: one row, with a name that no other job table has.
CREATE TABLE published (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    lineage TEXT COLLATE "C" NOT NULL
);

-- No gate is told of it while it is parked: it is a baseline, or the store refused its answer. Until it is retried.
ALTER TABLE jobs ADD COLUMN unanswerable BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX jobs_unanswered ON jobs (id) WHERE state = 'parked' AND NOT unanswerable;
-- A result that the store has not taken yet, or refused: at most one of a job.
CREATE UNIQUE INDEX results_not_stored ON results (job_id) WHERE NOT stored;
