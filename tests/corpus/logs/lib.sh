# What the scripts of the logs share. Each stands in its log's folder and begins with `. ../lib.sh`.
set -eu
cd "$(dirname "$0")"
HERE=$PWD
WORK=$(mktemp -d /tmp/corpus.XXXXXX)
chmod 755 "$WORK"
SERVER_PID=
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# The name has no other meaning than the archive of these logs.
ARCHIVE=http://archive.example:$PORT

clean_up() {
    [ -z "$SERVER_PID" ] || kill "$SERVER_PID" 2>/dev/null || true
    # What belonged to a testbed's users is theirs alone.
    unshare --map-auto --map-root-user rm -rf "$WORK" 2>/dev/null || true
    rm -rf "$WORK"
}
trap clean_up EXIT

# source_package NAME VERSION: begins a source package with tests.
source_package() {
    TREE=$WORK/$1-$2
    mkdir -p "$TREE/debian/tests"
    printf 'Source: %s\nSection: misc\nMaintainer: Nobody <nobody@archive.example>\n\nPackage: %s\nArchitecture: all\nDescription: x\n' \
        "$1" "$1" >"$TREE/debian/control"
    printf '%s (%s) unstable; urgency=low\n\n  * x\n\n -- Nobody <nobody@archive.example>  Sat, 21 Nov 2026 00:00:00 +0000\n' \
        "$1" "$2" >"$TREE/debian/changelog"
    # A tree that is built already.
    : >"$TREE/debian/files"
}

# add_test NAME [FIELD...] <SCRIPT: adds a test to the source package. Without a field "Depends: …" it needs nothing.
add_test() {
    name=$1
    shift
    case "$*" in *Depends:*) ;; *) set -- "$@" 'Depends:' ;; esac
    {
        printf 'Tests: %s\n' "$name"
        printf '%s\n' "$@"
        echo
    } >>"$TREE/debian/tests/control"
    { echo '#!/bin/sh'; cat; } >"$TREE/debian/tests/$name"
}

# binary_package NAME VERSION [CONTROL FIELD...]: a package of the archive. $WORK/NAME/DEBIAN may hold scripts.
binary_package() {
    name=$1 version=$2
    shift 2
    mkdir -p "$WORK/$name/DEBIAN" "$WORK/archive"
    {
        printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Nobody <nobody@archive.example>\n' "$name" "$version"
        [ $# -eq 0 ] || printf '%s\n' "$@"
        printf 'Description: x\n'
    } >"$WORK/$name/DEBIAN/control"
    dpkg-deb --root-owner-group -b "$WORK/$name" "$WORK/archive/${name}_${version}_all.deb" >/dev/null
}

# index [apt-ftparchive OPTION...]: makes the archive's indexes.
index() {
    mkdir -p "$WORK/archive"
    (
        cd "$WORK/archive"
        dpkg-scanpackages -m . >Packages 2>/dev/null
        apt-ftparchive "$@" release . >"$WORK/Release"
        mv "$WORK/Release" Release
    )
}

# Serves the archive: a folder "away" in it answers 503 to everything; "/stop" ends the server.
serve() {
    mkdir -p "$WORK/archive"
    python3 - "$WORK/archive" "$PORT" >/dev/null 2>&1 <<'PYTHON' &
import functools, http.server, os, sys
class Archive(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/stop":
            self.send_response(204)
            self.end_headers()
            os._exit(0)
        if os.path.isdir(os.path.join(sys.argv[1], "away")):
            return self.send_error(503)
        super().do_GET()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), functools.partial(Archive, directory=sys.argv[1])).serve_forever()
PYTHON
    SERVER_PID=$!
    until python3 -c "import socket; socket.create_connection(('127.0.0.1', $PORT))" 2>/dev/null; do
        kill -0 "$SERVER_PID"
        sleep 0.1
    done
}

# know_archive: sets $ARCHIVE_ARGS, the arguments by which a testbed knows the archive.
know_archive() {
    printf '127.0.0.1 localhost archive.example\n' >"$WORK/hosts"
    printf 'deb [trusted=yes] %s ./\n' "$ARCHIVE" >"$WORK/sources.list"
    # One try: an archive that is away is away.
    printf 'Acquire::Retries "0";\n' >"$WORK/retries.conf"
    ARCHIVE_ARGS="--copy=$WORK/hosts:/etc/hosts --copy=$WORK/sources.list:/etc/apt/sources.list --copy=$WORK/retries.conf:/etc/apt/apt.conf.d/99retries"
}

# run SERVER [ARGUMENT...]: runs autopkgtest on the tree, or on $SOURCE, and keeps the log. With $SMALL the folder
# $WORK/small is a file system of that size while it runs, and testbeds are in it.
run() {
    case $1 in
    unshare) server="unshare --prefix $WORK/${SMALL:+small/}testbed. --tarball $CORPUS_TESTBED" ;;
    *) server=$1 ;;
    esac
    shift
    mkdir -p "$WORK/small"
    OUT=${OUT:-$WORK/out}
    code=0
    # shellcheck disable=SC2086 # the server's arguments are words
    timeout 400 ${SMALL:+unshare --mount sh -ec 'mount -t tmpfs -o "size=$0" tmpfs "$1"; shift; exec "$@"' "$SMALL" "$WORK/small"} \
        autopkgtest --output-dir "$OUT" "$@" "${SOURCE:-$TREE}" -- $server >/dev/null 2>"$WORK/stderr" || code=$?
    keep_log "$code"
}

# lose_testbed: ends the testbed's server once the test says that it waits for that: autopkgtest hears no more of it.
lose_testbed() {
    (
        until grep -q '^waiting for the end$' "$WORK/out/log" 2>/dev/null; do sleep 0.2; done
        kill -KILL "$(pgrep -o -f "autopkgtest-virt-unshare --prefix $WORK/testbed[.]")"
    ) &
}

# keep_log CODE: compares the exit code with what expect.toml says, and takes the log without the machine's names.
keep_log() {
    version=false
    [ ! -s "$OUT/testpkg-version" ] || version=true
    [ -s "$OUT/log" ] || cp "$WORK/stderr" "$OUT/log"
    sed -e "s|$CORPUS_TESTBED|/srv/testbed.tar|g" -e "s|$WORK|/srv/run|g" -e "s|: host $(hostname);|: host host;|" -e "s|:$PORT\\b|:8000|g" \
        -e 's|running kernel: .*|running kernel: Linux 6.1.0-35-amd64|' <"$OUT/log" >"$WORK/log"
    expected=$(sed -n 's/^exit_code = //p' "$HERE/expect.toml")
    has_version=$(sed -n 's/^has_version = //p' "$HERE/expect.toml")
    if [ "$expected/$has_version" != "$1/$version" ]; then
        cat "$WORK/log"
        echo "$HERE: exit code $1 with version $version, expected $expected with $has_version" >&2
        exit 1
    fi
    cp "$WORK/log" "$HERE/log"
}
