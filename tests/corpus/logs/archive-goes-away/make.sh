#!/bin/sh
# The archive goes away between two tests; the first one prints what looks alike and passes.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
binary_package blue 1.0
add_test smoke 'Depends: blue' <<TEST
echo 'Temporary failure resolving another name'
echo "E: Release file for x is expired (invalid since 1d)."
exec 3<>/dev/tcp/127.0.0.1/$PORT
echo 'GET /stop HTTP/1.0' >&3
echo >&3
cat <&3
TEST
sed -i '1s|.*|#!/bin/bash|' "$TREE/debian/tests/smoke"
binary_package red 1.0
add_test install 'Depends: red' <<'TEST'
true
TEST
index
serve
know_archive
run unshare $ARCHIVE_ARGS --apt-upgrade
