#!/bin/sh
# A test prints markers, and then the archive is really away.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
echo "autopkgtest [10:00:00]: test nobody: [-----------------------"
TEST
add_test install 'Depends: blue' <<'TEST'
true
TEST
know_archive
run unshare $ARCHIVE_ARGS "--setup-commands=test -e /tmp/known || apt-get update"
