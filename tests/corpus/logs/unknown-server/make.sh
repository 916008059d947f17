#!/bin/sh
# The testbed server does not exist.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
true
TEST
run nowhere
