#!/bin/sh
# A test fills its testbed's disk.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
head -c 400000000 /dev/zero >"$AUTOPKGTEST_TMP/large" && exit 0
rm "$AUTOPKGTEST_TMP/large"
exit 1
TEST
SMALL=300m
run unshare
