#!/bin/sh
# A stand-in for autopkgtest where a test is about what stands around it. The request's `env` says what it does:
#   LAST=SECONDS  takes so long
#   EXIT=N  ends with that code     HOLD=FILE  goes on until the file exists     NOVERSION=1  writes no testpkg-version
#   TELL=1  puts into its log what it was told, and PPAs' credentials as apt would use them
#   COMMAND=1  its log begins with the command line, as autopkgtest's does     SUMMARY=TEXT  is what it says of its test
#   TESTBED=LIST  has these packages in its testbed: `libc6 2.39-1,dpkg 1.22`
#   SAYS=TEXT  has a line with that text in the log, as the testbed's console       VERSION=V  is that version
# It is the version that its own trigger names, else 1.0.
# While the file $STAND_IN_BROKEN exists, its testbeds fail: it ends with 16, whatever the request says.
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
out='' package='' exit=0 hold='' last='' tell='' version=1.0 triggers='' previous='' says='' is=''
command='' summary='smoke                PASS' testbed=''
for arg in "$@"; do
    case $previous in --output-dir) out=$arg ;; esac
    case $arg in
        --env=COMMAND=*) command=1 ;;
        --env=EXIT=*) exit=${arg#--env=EXIT=} ;;
        --env=HOLD=*) hold=${arg#--env=HOLD=} ;;
        --env=LAST=*) last=${arg#--env=LAST=} ;;
        --env=NOVERSION=*) version='' ;;
        --env=SAYS=*) says=${arg#--env=SAYS=} ;;
        --env=TESTBED=*) testbed=${arg#--env=TESTBED=} ;;
        --env=VERSION=*) is=${arg#--env=VERSION=} ;;
        --env=SUMMARY=*) summary=${arg#--env=SUMMARY=} ;;
        --env=TELL=*) tell=1 ;;
        --env=ADT_TEST_TRIGGERS=*) triggers=${arg#--env=} ;;
        --timeout-short=*) package=$previous ;;
    esac
    previous=$arg
done
case " ${triggers#*=} " in *" $package/"*)
    [ -z "$version" ] || { version=${triggers#*[ =]"$package"/} version=${version%% *}; } ;;
esac
version=${is:-$version}
echo "$now $$ $package" >>"$STAND_IN_STARTS"
mkdir -p "$out"
if [ -n "${STAND_IN_BROKEN:-}" ] && [ -e "$STAND_IN_BROKEN" ]; then
    echo "<VirtSubproc>: failure: the testbed of $package is broken" >"$out/log"
    exit 16
fi
{
    echo "autopkgtest [00:00:00]: starting date and time: now"
    [ -z "$command" ] || echo "autopkgtest [00:00:00]: host here; command line: autopkgtest $*"
    echo "autopkgtest [00:00:00]: @@@@@@@@@@@@@@@@@@@@ test bed setup"
    [ -z "$says" ] || echo "[   12.345678] $says"
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
[ -z "$testbed" ] || printf '%s\n' "$testbed" | tr ', ' '\n\t' >"$out/testbed-packages"
echo "$summary" >"$out/summary"
mkdir -p "$out/artifacts"
echo "made by $package" >"$out/artifacts/thing"
[ -z "$last" ] || sleep "$last"
[ -z "$hold" ] || while [ ! -e "$hold" ]; do sleep 0.05; done
{
    echo "autopkgtest [00:00:01]: test smoke: -----------------------]"
    echo "autopkgtest [00:00:01]: @@@@@@@@@@@@@@@@@@@@ summary"
    echo "$summary"
} >>"$out/log"
exit "$exit"
