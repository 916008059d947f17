#!/bin/sh
# Runs the real autopkgtest with the source tree of a package, unbuilt, in place of its name: no archive has it. It is
# the version that its own trigger names, else the release's.
# FOLDER is the folder of the trees, in which a file "go" says that tests may begin.
while ! [ -e FOLDER/go ]; do sleep 0.1; done
for arg; do
    shift
    case $arg in
        --env=ADT_TEST_TRIGGERS=*) triggers=${arg#*=*=} ;;
        # This autopkgtest does not know what Launchpad's PPAs are.
        --add-apt-source=ppa:*) continue ;;
        green | lightgreen | black | grey) package=$arg arg=TREE ;;
    esac
    set -- "$@" "$arg"
done
version=1
case $triggers in "$package/"*) version=${triggers#*/} version=${version%% *} ;; esac
for arg; do
    shift
    [ "$arg" != TREE ] || arg=FOLDER/$package-$version
    set -- "$@" "$arg"
done
exec autopkgtest --no-built-binaries "$@"
