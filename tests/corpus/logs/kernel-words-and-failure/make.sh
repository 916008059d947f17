#!/bin/sh
# A test shows a call trace and fails, as tests of kernel modules do: the testbed lives on.
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

[  101.000001] stress invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0, oom_score_adj=0
[  101.000304] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=sshd,pid=612,uid=0
[  101.000607] Out of memory: Killed process 612 (sshd) total-vm:15440kB, anon-rss:1320kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:72kB oom_score_adj:0
CONSOLE
exit 1
TEST
run unshare
