#!/bin/sh
# The same as archive-away, with the column of seconds that newer autopkgtests put before each line.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
echo 'E: Failed to fetch http://archive.example/'
TEST
add_test install 'Depends: blue' <<'TEST'
true
TEST
know_archive
run unshare $ARCHIVE_ARGS --apt-upgrade
awk '{ printf "%3ds %s\n", NR / 4, $0 }' log >"$WORK/log"
cp "$WORK/log" log
