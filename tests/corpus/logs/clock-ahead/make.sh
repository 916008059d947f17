#!/bin/sh
# The archive's index was valid until yesterday.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
true
TEST
index
sed -i "s/^Date: .*/Date: $(LC_ALL=C date -u -d '-8 days' '+%a, %d %b %Y %H:%M:%S UTC')\nValid-Until: $(LC_ALL=C date -u -d '-1 day' '+%a, %d %b %Y %H:%M:%S UTC')/" "$WORK/archive/Release"
serve
know_archive
run unshare $ARCHIVE_ARGS '--setup-commands=apt-get update'
