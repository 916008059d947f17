#!/bin/sh
# A package that the test needs cannot be installed in time: its script waits for ever.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
mkdir -p "$WORK/blue/DEBIAN"
printf '#!/bin/sh\nexec sleep 1000\n' >"$WORK/blue/DEBIAN/postinst"
chmod 755 "$WORK/blue/DEBIAN/postinst"
binary_package blue 1.0
add_test smoke 'Depends: blue' <<'TEST'
true
TEST
index
serve
know_archive
run unshare $ARCHIVE_ARGS --apt-upgrade --timeout-install=15
