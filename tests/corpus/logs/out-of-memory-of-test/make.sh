#!/bin/sh
# A test has less memory than it needs, by its own limit.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
ulimit -v 100000
python3 -c 'x = "x" * 10**9'
TEST
run null
