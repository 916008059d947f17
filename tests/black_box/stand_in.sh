#!/bin/sh
# A stand-in for autopkgtest where a test is about what stands around it. The request's `env` says what it does:
#   EXIT=N  ends with that code     HOLD=FILE  goes on until the file exists     NOVERSION=1  writes no testpkg-version
#   TELL=1  puts into its log what it was told, and PPAs' credentials as apt would use them
# Every start is noted in $STAND_IN_STARTS: nanoseconds since 1970, process id, package.
set -eu
now=$(date +%s%N)
# As autopkgtest does: @FILE stands for the file's lines.
for arg in "$@"; do
    shift
    case $arg in
        @*) while IFS= read -r line || [ -n "$line" ]; do set -- "$@" "$line"; done <"${arg#@}" ;;
        *) set -- "$@" "$arg" ;;
    esac
done
out='' package='' exit=0 hold='' tell='' version=1.0 triggers='' previous=''
for arg in "$@"; do
    case $previous in --output-dir) out=$arg ;; esac
    case $arg in
        --env=EXIT=*) exit=${arg#--env=EXIT=} ;;
        --env=HOLD=*) hold=${arg#--env=HOLD=} ;;
        --env=NOVERSION=*) version='' ;;
        --env=TELL=*) tell=1 ;;
        --env=ADT_TEST_TRIGGERS=*) triggers=${arg#--env=} ;;
        --timeout-short=*) package=$previous ;;
    esac
    previous=$arg
done
echo "$now $$ $package" >>"$STAND_IN_STARTS"
mkdir -p "$out"
{
    echo "autopkgtest [00:00:00]: starting date and time: now"
    echo "autopkgtest [00:00:00]: @@@@@@@@@@@@@@@@@@@@ test bed setup"
    echo "autopkgtest [00:00:00]: test smoke: [-----------------------"
    echo "this is $package"
    [ -z "$tell" ] || for arg in "$@"; do
        echo "told $arg"
        case $arg in
            --add-apt-source=ppa:*@*)
                login=${arg#--add-apt-source=ppa:} login=${login%%@*}
                echo "deb https://$login@archive/ noble main"
                printf 'Authorization: Basic '
                printf %s "$login" | base64 -w 0
                ;;
        esac
    done
} >>"$out/log"
[ -z "$version" ] || printf '%s %s' "$package" "$version" >"$out/testpkg-version"
[ -z "$triggers" ] || printf '{"custom_environment": ["%s"]}\n' "$triggers" >"$out/testinfo.json"
echo 'smoke PASS' >"$out/summary"
mkdir -p "$out/artifacts"
echo "made by $package" >"$out/artifacts/thing"
[ -z "$hold" ] || while [ ! -e "$hold" ]; do sleep 0.05; done
{
    echo "autopkgtest [00:00:01]: test smoke: -----------------------]"
    echo "autopkgtest [00:00:01]: @@@@@@@@@@@@@@@@@@@@ summary"
    echo "smoke                PASS"
} >>"$out/log"
exit "$exit"
