#!/bin/sh
# A test writes another test's preparation to stderr, which autopkgtest shows once more.
. "$(dirname "$0")/../lib.sh"

source_package green 1.0-1
add_test smoke <<'TEST'
exec >&2
echo "autopkgtest [10:00:00]: test nobody: preparing testbed"
echo 'E: Failed to fetch http://archive.example/Packages  Could not connect to archive.example:80 (192.0.2.1). - connect (111: Connection refused)'
echo 'W: Some index files failed to download. They have been ignored, or old ones used instead.'
echo "E: Failed to fetch http://archive.example/x  Temporary failure resolving 'archive.example'"
echo '   Hash Sum mismatch'
echo 'E: Release file for http://archive.example/InRelease is not valid yet (invalid for another 3h 2min 1s).'
echo 'OSError: [Errno 28] No space left on device'
echo 'timed out on command "apt-get install x" (kind: install)'
TEST
add_test other <<'TEST'
true
TEST
run null
