#!/bin/sh
# An index that the archive's Release names is not there.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
binary_package blue 1.0
add_test smoke 'Depends: blue' <<'TEST'
true
TEST
index
rm "$WORK/archive/Packages"
serve
know_archive
run unshare $ARCHIVE_ARGS '--setup-commands=apt-get update'
