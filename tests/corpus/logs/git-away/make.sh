#!/bin/sh
# The server of the git branch that is to be tested is away.
. "$(dirname "$0")/../lib.sh"

know_archive
SOURCE=$ARCHIVE/green.git
run unshare "--copy=$WORK/hosts:/etc/hosts"
