#!/bin/sh
# The same in a test of apt: for all we know it is about that.
. "$(dirname "$0")/../lib.sh"

source_package apt 2.6.1
add_test smoke 'Depends: blue' <<'TEST'
true
TEST
know_archive
run unshare $ARCHIVE_ARGS --apt-upgrade
