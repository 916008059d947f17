#!/bin/sh
# The archive answers 503 Service Unavailable.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke 'Depends: blue' <<'TEST'
true
TEST
mkdir -p "$WORK/archive/away"
serve
know_archive
run unshare $ARCHIVE_ARGS '--setup-commands=apt-get update'
