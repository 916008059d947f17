#!/bin/sh
# Has cargo-deny look the dependencies up in RustSec's advisory database (deny.toml, [advisories]).
# usage: tests/setup/advisories.sh CARGO-DENY FOLDER
# The database is fetched into FOLDER. Where the network does not allow that the one fetched before counts, or what
# ADVISORY_DB names: a git URL or folder that has it. With none at all it says so, and fails if ADVISORIES_REQUIRED is set.
set -eu
deny=$1 folder=$2
url=https://github.com/RustSec/advisory-db
# cargo-deny's own name for what it keeps of this URL.
database="$folder/advisory-db-3157b0e258782691"

# fetch FROM: the newest state alone, in place of the one before.
fetch() {
    rm -rf "$database.new"
    timeout 120 git clone --quiet --depth 1 "$1" "$database.new" || return 1
    rm -rf "$database"
    mv "$database.new" "$database"
}

mkdir -p "$folder"
case ${ADVISORY_DB:-} in
    '') fetch "$url" || echo "$url cannot be fetched: ADVISORY_DB may name a copy" >&2 ;;
    /*) fetch "file://$ADVISORY_DB" ;;
    *) fetch "$ADVISORY_DB" ;;
esac
if [ ! -d "$database" ]; then
    # Not good, and no fault of what is checked. Where a change is taken this is to fail.
    echo 'ADVISORIES ARE NOT CHECKED: there is no database of them here' >&2
    [ -z "${ADVISORIES_REQUIRED:-}" ]
    exit
fi
echo "advisories as of $(git -C "$database" show -s --format=%cs HEAD)"
# cargo-deny takes the folder from its configuration alone, and relative paths from there.
config=$(mktemp --suffix .toml)
trap 'rm -f "$config"' EXIT
sed "s|^db-path = .*|db-path = \"$folder\"|" deny.toml >"$config"
"$deny" --workspace --all-features --offline --config "$config" check advisories
