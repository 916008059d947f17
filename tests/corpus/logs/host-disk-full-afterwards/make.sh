#!/bin/sh
# The host's disk is full when the test's artifacts are to be kept: autopkgtest itself gives up.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
head -c 20000000 /dev/zero >"$AUTOPKGTEST_ARTIFACTS/large"
TEST
export WORK CORPUS_TESTBED TREE
mkdir "$WORK/small" "$WORK/kept"
unshare --mount sh -ec '
    mount -t tmpfs -o size=4m tmpfs "$WORK/small"
    code=0
    autopkgtest --output-dir "$WORK/small/out" "$TREE" -- unshare --prefix "$WORK/testbed." --tarball "$CORPUS_TESTBED" \
        >/dev/null 2>"$WORK/stderr" || code=$?
    cp "$WORK/small/out/log" "$WORK/small/out/testpkg-version" "$WORK/kept"
    echo "$code" >"$WORK/code"'
OUT=$WORK/kept
keep_log "$(cat "$WORK/code")"
