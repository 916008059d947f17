#!/bin/sh
# Makes the logs anew, all or those that are named, and says which of them ended otherwise than expect.toml says.
# Needs root or subordinate user ids, autopkgtest, mmdebstrap, dpkg-dev, apt-utils, python3; for the first run an archive.
# Usage: make-all.sh [NAME...]
set -eu
cd "$(dirname "$0")"
export CORPUS_TESTBED="${CORPUS_TESTBED:-${XDG_CACHE_HOME:-$HOME/.cache}/proofhouse-corpus/testbed.tar}"
if [ ! -e "$CORPUS_TESTBED" ]; then
    mkdir -p "$(dirname "$CORPUS_TESTBED")"
    ./make-testbed.sh "$CORPUS_TESTBED"
fi
[ $# -gt 0 ] || set -- */
failed=0
for name; do
    echo "${name%/}"
    "./${name%/}/make.sh" || failed=1
done
exit $failed
