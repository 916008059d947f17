# shellcheck shell=sh
# Stands beside a test process and clears up after it, however it ended: standard input closes when it is gone.
# usage: sh -c "$(cat keeper.sh)" keeper MARKER FOLDER HOOK
# MARKER stands in the environment of every process to kill, also of those that made themselves daemons.
marker=$1 DIR=$2 hook=$3
cat >/dev/null
eval "$hook"
# Three rounds that find nothing: a process has no environment for a moment while it executes another program.
quiet=0 rounds=0
while [ "$quiet" -lt 3 ] && [ "$rounds" -lt 100 ]; do
    rounds=$((rounds + 1)) quiet=$((quiet + 1))
    pids=$(grep -lzxF "$marker" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3)
    [ -z "$pids" ] || quiet=0
    # shellcheck disable=SC2086 # one word per process
    [ -z "$pids" ] || kill -KILL $pids 2>/dev/null
    sleep 0.02
done
rm -rf --one-file-system "$DIR"
