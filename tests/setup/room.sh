#!/bin/sh
# Removes from a target folder that has grown beyond 20 GiB what is built of Proofhouse itself: each change leaves another
# copy there, and cargo removes none. What is built of libraries stays.
# usage: tests/setup/room.sh FOLDER
set -eu

most=20
[ -d "$1/debug" ] || exit 0
size=$(du -s --block-size=1G "$1" 2>/dev/null | cut -f1) || exit 0
[ "${size:-0}" -gt $most ] || exit 0
echo "$1 has grown to $size GiB: what is built of Proofhouse itself is removed, and built anew." >&2
rm -rf "$1/debug/incremental" "$1/debug/examples"
# The tests' programs have their files' names.
for name in proofhouse recorded black_box verify life bench britney upstream faults corpus log_corpus; do
    find "$1/debug/deps" "$1/debug/.fingerprint" -maxdepth 1 \( -name "${name}[-_]*" -o -name "lib${name}[-_]*" \) -exec rm -rf {} +
done
