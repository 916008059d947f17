#!/bin/sh
# The kernel killed what the testbed is reached by. The words are those that such a console shows; the testbed's end is real.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke 'Restrictions: needs-root, allow-stderr' <<'TEST'
cat <<'CONSOLE'
[  101.000001] stress invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0, oom_score_adj=0
[  101.000304] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=sshd,pid=612,uid=0
[  101.000607] Out of memory: Killed process 612 (sshd) total-vm:15440kB, anon-rss:1320kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:72kB oom_score_adj:0
CONSOLE
echo 'waiting for the end'
sleep 5
TEST
lose_testbed
run unshare
