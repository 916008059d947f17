#!/bin/sh
# Every test was skipped.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke 'Restrictions: skippable' <<'TEST'
exit 77
TEST
run null
