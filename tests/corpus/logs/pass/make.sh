#!/bin/sh
# A plain pass.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
echo all is well
TEST
run null
