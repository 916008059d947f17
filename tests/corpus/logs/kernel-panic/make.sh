#!/bin/sh
# The kernel panicked, and the testbed was gone. The words are those that such a console shows; the testbed's end is real.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke 'Restrictions: needs-root, allow-stderr' <<'TEST'
cat <<'CONSOLE'
[   42.123456] sysrq: Trigger a crash
[   42.123789] Kernel panic - not syncing: sysrq triggered crash
[   42.124012] CPU: 0 PID: 1234 Comm: bash Kdump: loaded Not tainted 6.1.0-35-amd64 #1  Debian 6.1.137-1
[   42.124345] Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 04/01/2014
[   42.124678] Kernel Offset: 0x2a000000 from 0xffffffff81000000 (relocation range: 0xffffffff80000000-0xffffffffbfffffff)
[   42.124901] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---
CONSOLE
echo 'waiting for the end'
sleep 5
TEST
lose_testbed
run unshare
