#!/bin/sh
# The runner is told to end in mid-test.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
kill -TERM "$(pgrep -o -f "autopkgtest --output-dir $OUT_OF_THIS")"
sleep 100
TEST
OUT=$WORK/out
sed -i "s|\$OUT_OF_THIS|$OUT|" "$TREE/debian/tests/smoke"
run null
