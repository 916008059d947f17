#!/bin/sh
# Makes the root file system that the logs' scripts run their tests on: a small Debian without any archive.
# Usage: make-testbed.sh FILE.tar
set -eu
# The file /corpus-testbed tells a test that destroys its testbed that it is in one.
mmdebstrap --quiet --variant=apt --format=tar --include=ca-certificates,git \
    --customize-hook='rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/usr/share/doc/* "$1"/usr/share/locale/*' \
    --customize-hook='touch "$1"/corpus-testbed' \
    bookworm "$1.new"
mv "$1.new" "$1"
