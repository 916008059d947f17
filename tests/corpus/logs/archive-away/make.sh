#!/bin/sh
# The archive's port is closed: what the test needs cannot be installed.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke 'Depends: blue' <<'TEST'
true
TEST
know_archive
run unshare $ARCHIVE_ARGS --apt-upgrade
