#!/bin/sh
# A test does not come to an end.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
sleep 100
TEST
run unshare --timeout-test=5
