#!/bin/bash
# The stand-in for autopkgtest under faults. It writes into $STAND_IN_LEDGER when it starts and when it ends:
# MICROSECONDS start|end PROCESS PACKAGE/VERSION, of what it was triggered by. --env=LAST=SECONDS says how long it takes.
now=${EPOCHREALTIME/[.,]/}
set -eu
args=()
for arg in "$@"; do
    case $arg in
        @*) mapfile -t more <"${arg#@}" && args+=("${more[@]}") ;;
        *) args+=("$arg") ;;
    esac
done
out='' trigger='' last=0 previous=''
for arg in "${args[@]}"; do
    case $previous in --output-dir) out=$arg ;; esac
    case $arg in
        --env=LAST=*) last=${arg#--env=LAST=} ;;
        --env=ADT_TEST_TRIGGERS=*) trigger=${arg#--env=ADT_TEST_TRIGGERS=} ;;
    esac
    previous=$arg
done
echo "$now start $$ $trigger" >>"$STAND_IN_LEDGER"
mkdir -p "$out/artifacts"
{
    echo "autopkgtest [00:00:00]: test smoke: [-----------------------"
    echo "this is $trigger"
    echo "autopkgtest [00:00:01]: test smoke: -----------------------]"
} >>"$out/log"
printf '%s %s' "${trigger%%/*}" "${trigger#*/}" >"$out/testpkg-version"
printf '{"custom_environment": ["ADT_TEST_TRIGGERS=%s"]}\n' "$trigger" >"$out/testinfo.json"
echo 'smoke PASS' >"$out/summary"
echo "made by $trigger" >"$out/artifacts/thing"
# Reading from a pipe that nobody writes to is a wait without a process.
exec {never}<> <(:)
read -r -t "$last" -u "$never" || true
echo "${EPOCHREALTIME/[.,]/} end $$ $trigger" >>"$STAND_IN_LEDGER"
