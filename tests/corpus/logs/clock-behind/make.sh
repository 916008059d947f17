#!/bin/sh
# The archive's index was made in the testbed's future.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
true
TEST
index -o "APT::FTPArchive::Release::Date=$(LC_ALL=C date -u -R -d '+10 days')"
sed -i "s/^Date: .*/Date: $(LC_ALL=C date -u -d '+10 days' '+%a, %d %b %Y %H:%M:%S UTC')/" "$WORK/archive/Release"
serve
know_archive
run unshare $ARCHIVE_ARGS '--setup-commands=apt-get update'
