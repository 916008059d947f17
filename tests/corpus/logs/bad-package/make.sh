#!/bin/sh
# A test that is named is not there.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
true
TEST
rm "$TREE/debian/tests/smoke"
run null
