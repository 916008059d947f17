#!/bin/sh
# A task hung in the kernel, and the testbed was gone. The words are those that such a console shows; the testbed's end is real.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke 'Restrictions: needs-root, allow-stderr' <<'TEST'
cat <<'CONSOLE'
[  363.520101] INFO: task mount:2345 blocked for more than 120 seconds.
[  363.520404]       Not tainted 6.1.0-35-amd64 #1 Debian 6.1.137-1
[  363.520707] "echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.
[  363.521010] task:mount           state:D stack:0     pid:2345  ppid:2344   flags:0x00000002
[  363.521313] Call Trace:
[  363.521616]  <TASK>
[  363.521919]  __schedule+0x34d/0x9e0
[  363.522222]  schedule+0x5a/0xd0
[  363.522525]  </TASK>
CONSOLE
echo 'waiting for the end'
sleep 5
TEST
lose_testbed
run unshare
