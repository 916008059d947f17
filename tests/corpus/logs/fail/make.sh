#!/bin/sh
# A plain failure.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
echo 'expected 1, got 2'
exit 1
TEST
run null
