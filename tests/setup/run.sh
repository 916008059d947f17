#!/bin/bash
# Runs `cargo test` with the arguments given and ends with "N passed, N failed, N skipped"; the reasons of
# skipped tests stand before it. Fails where cargo fails.
set -uo pipefail

scratch=$(mktemp -d) || exit
trap 'rm -rf "$scratch"' EXIT

# A test's error is its text; a panic still shows where it came from.
RUST_LIB_BACKTRACE=0 cargo test --no-fail-fast "$@" 2>&1 | tee "$scratch/log"
status=${PIPESTATUS[0]}

read -r passed failed ignored < <(awk '
    /^test result: / { passed += $4; failed += $6; ignored += $8 }
    END { print passed + 0, failed + 0, ignored + 0 }' "$scratch/log")
# libtest names each test that is left out, with its reason.
sed -n 's/^test \(.*\) \.\.\. ignored, */skipped \1: /p' "$scratch/log"
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    echo "cargo test ended with status $status: it did not build, or a test process died"
    failed=1
fi
echo "$passed passed, $failed failed, $ignored skipped"
exit "$status"
