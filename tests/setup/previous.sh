#!/bin/bash
# Builds Proofhouse as it was at the commit that tests/recorded/previous names, for the tests that upgrade from it. It is built
# once (four minutes on two cores), kept in FOLDER, and lies as `previous` in PROGRAMS then, with its rules for the database.
# usage: tests/setup/previous.sh FOLDER PROGRAMS
set -euo pipefail
folder=$1 programs=$2
commit=$(<"$(dirname "$0")/../recorded/previous")
kept=$folder/previous-$commit
if [ ! -d "$kept" ]; then
    echo "Proofhouse (verify) builds the version before (commit $commit) into $kept"
    work=$kept.new
    rm -rf "$work"
    mkdir -p "$work/source"
    git archive "$commit" | tar -x -C "$work/source"
    (cd "$work/source" && CARGO_TARGET_DIR=$work/target cargo build --locked -p proofhouse)
    mv "$work/target/debug/proofhouse" "$work/source/deploy/postgres/roles.sql" "$work"
    rm -rf "$work/target" "$work/source"
    mv "$work" "$kept"
fi
ln -sfn "$kept" "$programs/previous"
