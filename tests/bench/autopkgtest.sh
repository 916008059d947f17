#!/bin/bash
# The stand-in for autopkgtest where figures are taken. It notes when it started and when it ended, in microseconds since
# 1970, with the package, and starts no process that it can do without.
#   $STAND_IN_STARTS  $STAND_IN_ENDS   the files in which it notes it
#   $STAND_IN_GATE    a folder, where it is set: it goes on once a file there has the package's name
#   $STAND_IN_LOG     a file, where it is set: it stands in the log
#   $STAND_IN_TICK    where it is set: while it waits, it writes the time to the log each second
now=${EPOCHREALTIME/[.,]/}
set -eu
args=()
for arg in "$@"; do
    case $arg in
        @*) mapfile -t more <"${arg#@}" && args+=("${more[@]}") ;;
        *) args+=("$arg") ;;
    esac
done
out='' package='' previous=''
for arg in "${args[@]}"; do
    case $previous in --output-dir) out=$arg ;; esac
    case $arg in --timeout-short=*) package=$previous ;; esac
    previous=$arg
done
echo "$now $package" >>"$STAND_IN_STARTS"
mkdir -p "$out"
echo "autopkgtest [00:00:00]: test smoke: [-----------------------" >>"$out/log"
[ -z "${STAND_IN_LOG:-}" ] || cat "$STAND_IN_LOG" >>"$out/log"
printf '%s 1' "$package" >"$out/testpkg-version"
echo 'smoke PASS' >"$out/summary"
if [ -n "${STAND_IN_GATE:-}" ]; then
    # Reading from a pipe that nobody writes to is a wait without a process.
    exec {never}<> <(:)
    rounds=0
    while [ ! -e "$STAND_IN_GATE/$package" ]; do
        read -r -t 0.1 -u "$never" || true
        rounds=$((rounds + 1))
        [ -z "${STAND_IN_TICK:-}" ] || [ $((rounds % 10)) -ne 0 ] || echo "tick ${EPOCHREALTIME/[.,]/}" >>"$out/log"
    done
fi
echo "${EPOCHREALTIME/[.,]/} $package" >>"$STAND_IN_ENDS"
