#!/bin/sh
# A dependency does not exist in an archive that is well.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke 'Depends: nowhere' <<'TEST'
true
TEST
index
serve
know_archive
run unshare $ARCHIVE_ARGS --apt-upgrade
