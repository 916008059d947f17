#!/bin/sh
# The archive serves a damaged index.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
binary_package blue 1.0
add_test smoke 'Depends: blue' <<'TEST'
true
TEST
index
sed -i 's/^Description: x/Description: y/' "$WORK/archive/Packages"
serve
know_archive
run unshare $ARCHIVE_ARGS '--setup-commands=apt-get update'
