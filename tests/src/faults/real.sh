#!/bin/bash
# The real autopkgtest, for sources below $REAL_SOURCES. It writes into $STAND_IN_LEDGER that it starts, as stand_in.sh does; no
# archive is asked for anything.
now=${EPOCHREALTIME/[.,]/}
set -eu
args=()
for arg in "$@"; do
    case $arg in
        @*) mapfile -t more <"${arg#@}" && args+=("${more[@]}") ;;
        *) args+=("$arg") ;;
    esac
done
real=() trigger=''
for arg in "${args[@]}"; do
    case $arg in
        --apt-upgrade | --apt-pocket*) continue ;;
        --env=ADT_TEST_TRIGGERS=*) trigger=${arg#--env=ADT_TEST_TRIGGERS=} ;;
        [a-z]*)
            if [ -d "$REAL_SOURCES/$arg" ]; then
                real+=(--no-built-binaries "$REAL_SOURCES/$arg/")
                continue
            fi
            ;;
    esac
    real+=("$arg")
done
echo "$now start $$ $trigger" >>"$STAND_IN_LEDGER"
exec autopkgtest "${real[@]}"
