-- What each part of Proofhouse may do in the database, and nothing more. Workers have no account here.
--
-- Run it as the owner of the database after each `proofhouse database migrate`, the first and every later one; it can be
-- run any number of times. It makes the roles that are missing, for which the owner needs CREATEROLE. They have no
-- password, and so nobody gets in, until somebody gives them one.

BEGIN;

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['proofhouse_dispatcher', 'proofhouse_web', 'proofhouse_operator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO proofhouse_dispatcher, proofhouse_web, proofhouse_operator;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM proofhouse_dispatcher, proofhouse_web, proofhouse_operator;

-- The version of the schema, and a sign of life.
GRANT SELECT ON _sqlx_migrations, leadership TO proofhouse_dispatcher, proofhouse_web, proofhouse_operator;

-- All three take requests in: a new job, or a request that joins one, or one that the database refuses.
GRANT SELECT, INSERT ON jobs, job_uuids TO proofhouse_dispatcher, proofhouse_web, proofhouse_operator;
GRANT UPDATE (context, requesters, lane) ON jobs TO proofhouse_dispatcher, proofhouse_web, proofhouse_operator;
GRANT INSERT ON rejected TO proofhouse_dispatcher, proofhouse_web, proofhouse_operator;

-- The dispatcher schedules, grants and publishes. No job, attempt or result is ever deleted.
GRANT UPDATE ON leadership, jobs TO proofhouse_dispatcher;
GRANT SELECT, INSERT, UPDATE ON attempts, series, results, workers TO proofhouse_dispatcher;
GRANT DELETE ON workers TO proofhouse_dispatcher, proofhouse_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO proofhouse_dispatcher;
GRANT SELECT, INSERT, UPDATE, DELETE ON unsettled TO proofhouse_dispatcher;
-- Workers that are gone for good are forgotten.
GRANT DELETE ON workers TO proofhouse_dispatcher, proofhouse_operator;
GRANT SELECT, INSERT ON published TO proofhouse_dispatcher;
-- The dispatcher sums results up, anew where the index was dropped; the site shows the sums.
GRANT SELECT, UPDATE ON summed TO proofhouse_dispatcher;
GRANT SELECT, INSERT, UPDATE, DELETE ON standings, hours TO proofhouse_dispatcher;
GRANT SELECT, INSERT, DELETE ON flips, names, triggered TO proofhouse_dispatcher;
GRANT SELECT, INSERT ON triggers TO proofhouse_dispatcher;
GRANT SELECT ON summed, standings, hours, flips, names, triggers, triggered TO proofhouse_web;
-- What every page says at its top.
GRANT SELECT ON alerts TO proofhouse_web;
GRANT SELECT, INSERT, UPDATE, DELETE ON alerts TO proofhouse_operator;
-- Operators hold back, the dispatcher obeys, the site shows; what they did is only ever added to.
GRANT SELECT ON pauses, caps TO proofhouse_dispatcher, proofhouse_web, proofhouse_operator;
GRANT INSERT, DELETE ON pauses, caps TO proofhouse_operator;
GRANT UPDATE ON caps TO proofhouse_operator;
GRANT SELECT ON audit TO proofhouse_web, proofhouse_operator;
GRANT INSERT ON audit TO proofhouse_operator;
-- A command counts in its entry while it works.
GRANT UPDATE (jobs) ON audit TO proofhouse_operator;

-- The site shows what there is, knows tokens by their hashes, and counts what each person asks for.
GRANT SELECT ON attempts, results, workers, tokens TO proofhouse_web;
-- How many requests could not be taken and why, not what they say.
GRANT SELECT (kind) ON rejected TO proofhouse_web;
GRANT SELECT, INSERT, DELETE ON asked TO proofhouse_web;

-- The command line: `queue`, `run`, `rejected`, `parked`, `workers`, `token`, and what an operator wants of jobs and workers; `reindex` writes
-- results that the store has.
GRANT SELECT ON attempts, results, workers, rejected, tokens, series, reindexed TO proofhouse_operator;
GRANT INSERT ON tokens TO proofhouse_operator;
GRANT UPDATE (revoked) ON tokens TO proofhouse_operator;
GRANT UPDATE ON jobs TO proofhouse_operator;
GRANT UPDATE (wanted) ON workers TO proofhouse_operator;
GRANT INSERT, UPDATE ON results, series TO proofhouse_operator;
GRANT INSERT, UPDATE, DELETE ON reindexed TO proofhouse_operator;

COMMIT;
