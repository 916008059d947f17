-- The published database as the old system makes it: its readers know these columns, in this order, and its indexes.
CREATE TABLE IF NOT EXISTS test (
  id INTEGER PRIMARY KEY, release CHAR[20], arch CHAR[20], package char[120]);
CREATE TABLE IF NOT EXISTS result (
  test_id INTEGER, run_id CHAR[30], version VARCHAR[200], triggers TEXT, duration INTEGER, exitcode INTEGER,
  requester TEXT, env TEXT, PRIMARY KEY(test_id, run_id), FOREIGN KEY(test_id) REFERENCES test(id));
CREATE UNIQUE INDEX IF NOT EXISTS test_package_uix ON test(package, release, arch);
CREATE INDEX IF NOT EXISTS result_run_ix ON result(run_id desc);
CREATE INDEX IF NOT EXISTS result_requester_idx ON result(requester);
CREATE INDEX IF NOT EXISTS result_test_id_ix ON result(test_id);
CREATE INDEX IF NOT EXISTS test_id_ix ON test(id);
CREATE TABLE IF NOT EXISTS current_version (
  release CHAR[20], pocket CHAR[40], component CHAR[10], package CHAR[50], version CHAR[120],
  PRIMARY KEY(release, package));
CREATE INDEX IF NOT EXISTS current_version_pocket_ix ON current_version(pocket, component);
CREATE TABLE IF NOT EXISTS url_last_checked (url CHAR[100], timestamp CHAR[50], PRIMARY KEY(url));
-- What is on its way into the file, and is gone with the connection.
CREATE TEMP TABLE incoming (
  release TEXT, arch TEXT, package TEXT, run_id TEXT, version TEXT, triggers TEXT, duration INTEGER, exitcode INTEGER,
  requester TEXT, env TEXT);
CREATE TEMP TABLE tail (
  test_id INTEGER, run_id TEXT, version TEXT, triggers TEXT, duration INTEGER, exitcode INTEGER, requester TEXT,
  env TEXT, PRIMARY KEY(test_id, run_id));
