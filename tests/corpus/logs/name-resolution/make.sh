#!/bin/sh
# No name server answers: what the test needs cannot be installed.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke 'Depends: blue' <<'TEST'
true
TEST
know_archive
echo '127.0.0.1 localhost' >"$WORK/hosts"
echo 'nameserver 127.0.0.1' >"$WORK/resolv.conf"
run unshare $ARCHIVE_ARGS "--copy=$WORK/resolv.conf:/etc/resolv.conf" --apt-upgrade
