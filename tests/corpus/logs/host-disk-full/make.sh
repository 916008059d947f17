#!/bin/sh
# The host's disk is full: there is no room for the packages that the test needs.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
mkdir -p "$WORK/blue/srv"
head -c 300000000 /dev/zero >"$WORK/blue/srv/large"
binary_package blue 1.0
rm "$WORK/blue/srv/large"
add_test smoke 'Depends: blue' <<'TEST'
true
TEST
index
serve
know_archive
SMALL=300m
run unshare $ARCHIVE_ARGS --apt-upgrade
