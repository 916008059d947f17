#!/bin/sh
# The testbed is ended in mid-test.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
echo 'waiting for the end'
sleep 5
TEST
lose_testbed
run unshare
