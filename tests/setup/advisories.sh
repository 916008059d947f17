#!/bin/sh
# Has cargo-deny look the dependencies up in RustSec's advisory database (deny.toml, [advisories]).
# usage: tests/setup/advisories.sh CARGO-DENY FOLDER
# The database is fetched into FOLDER, from ADVISORY_DB where that names a git URL or a folder. Where it cannot be fetched the
# one fetched before counts, or the copy that lies beside this script.
set -eu
deny=$1 folder=$2
url=https://github.com/RustSec/advisory-db
# cargo-deny's own name for what it keeps of this URL.
database="$folder/advisory-db-3157b0e258782691"
copy=$(cd "$(dirname "$0")" && ls "$PWD"/advisories-*.tar.xz)
copied=${copy##*/advisories-}
copied=${copied%.tar.xz}

# fetch FROM: the newest state alone, in place of the one before.
fetch() {
    rm -rf "$database.new"
    timeout 120 git clone --quiet --depth 1 "$1" "$database.new" || return 1
    rm -rf "$database"
    mv "$database.new" "$database"
}

# cargo-deny takes a repository of git alone.
unpack() {
    rm -rf "$database.new"
    mkdir "$database.new"
    tar -xJf "$copy" -C "$database.new" --strip-components=1
    git -C "$database.new" init --quiet
    git -C "$database.new" add .
    GIT_COMMITTER_DATE="$copied 00:00:00 +0000" git -C "$database.new" -c user.name=copy -c user.email=copy \
        commit --quiet --message="as of $copied"
    rm -rf "$database"
    mv "$database.new" "$database"
}

mkdir -p "$folder"
case ${ADVISORY_DB:-} in
    '') fetch "$url" || echo "$url cannot be fetched; ADVISORY_DB may name a newer copy than is used now" >&2 ;;
    /*) fetch "file://$ADVISORY_DB" ;;
    *) fetch "$ADVISORY_DB" ;;
esac
# as_of: the day of what is there, as YYYY-MM-DD; nothing where there is nothing.
as_of() { git -C "$database" show -s --format=%cs HEAD 2>/dev/null || true; }

# The younger of the two days sorts last.
[ "$(printf '%s\n' "$copied" "$(as_of)" | sort | tail -n 1)" = "$(as_of)" ] || unpack
echo "advisories as of $(as_of)"
# cargo-deny takes the folder from its configuration alone, and relative paths from there.
config=$(mktemp --suffix .toml)
trap 'rm -f "$config"' EXIT
sed "s|^db-path = .*|db-path = \"$folder\"|" deny.toml >"$config"
"$deny" --workspace --all-features --offline --config "$config" check advisories
