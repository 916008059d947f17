# Stands beside a test process and clears up after it, however it ended: standard input closes when it is gone.
# usage: sh -c "$(cat keeper.sh)" keeper MARKER FOLDER HOOK
# MARKER stands in the environment of every process to kill, also of those that made themselves daemons.
marker=$1 DIR=$2 hook=$3
cat >/dev/null
eval "$hook"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    pids=$(grep -lzxF "$marker" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3)
    [ -n "$pids" ] || break
    # shellcheck disable=SC2086 # one word per process
    kill -KILL $pids 2>/dev/null
    sleep 0.05
done
rm -rf "$DIR"
