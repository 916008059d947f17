#!/bin/sh
# A setup command fails.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
true
TEST
run null '--setup-commands=echo no; exit 3'
