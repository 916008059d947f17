#!/bin/sh
# One test failed, another was skipped.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
exit 1
TEST
add_test other 'Restrictions: skippable' <<'TEST'
exit 77
TEST
run null
