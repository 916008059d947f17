#!/bin/sh
# A test removes what its testbed lives by, and ends as a login does whose connection is lost.
# The file says that it is in a testbed: nothing else may lose these packages.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke 'Restrictions: needs-root, allow-stderr' <<'TEST'
[ -e /corpus-testbed ] || exit 0
apt-get --assume-yes --allow-remove-essential remove login
exit 255
TEST
run unshare
