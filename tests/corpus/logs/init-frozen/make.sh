#!/bin/sh
# systemd crashed, and the testbed was gone. The words are those that such a console shows; the testbed's end is real.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke 'Restrictions: needs-root, allow-stderr' <<'TEST'
cat <<'CONSOLE'
[   12.000001] systemd[1]: Caught <ABRT>, dumped core as pid 771.
[   12.000304] systemd[1]: Freezing execution.
CONSOLE
echo 'waiting for the end'
sleep 5
TEST
lose_testbed
run unshare
