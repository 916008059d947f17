#!/bin/sh
# The archive serves a damaged package: autopkgtest itself calls the testbed failed.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
binary_package blue 1.0
add_test smoke 'Depends: blue' <<'TEST'
true
TEST
index
size=$(stat -c %s "$WORK"/archive/blue*.deb)
head -c "$size" /dev/zero >"$(echo "$WORK"/archive/blue*.deb)"
serve
know_archive
run unshare $ARCHIVE_ARGS --apt-upgrade
