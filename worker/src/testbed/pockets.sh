#!/bin/sh
# A hook of mmdebstrap: makes a testbed's sources.list such that autopkgtest's --apt-pocket works. $1 is the root.
#
# autopkgtest 5.28 reads /etc/apt/sources.list, which must be there, and makes `RELEASE-proposed` of each line with a
# plain release. Debian has no such pocket, and apt-get ends with an error on one that is missing. There, an empty
# archive in the testbed itself stands first, with the pocket; the real lines have tabs, which autopkgtest passes over
# and apt does not mind.
set -eu
root=$1
list=$root/etc/apt/sources.list

# mmdebstrap 1.3 keeps a list that it was given by file in the folder.
[ -e "$list" ] || mv "$root"/etc/apt/sources.list.d/*sources.list "$list"

release=$(awk '$1 == "deb" { print $3; exit }' "$list")
grep -qs '^Origin: Debian$' "$root/var/lib/apt/lists/"*"_dists_${release}_"*Release || exit 0

archive=/usr/share/proofhouse/empty-archive
packages=main/binary-$(chroot "$root" dpkg --print-architecture)/Packages
sum=$(printf '' | sha256sum)
for suite in "$release" "$release-proposed"; do
    dist=$root$archive/dists/$suite
    mkdir -p "$dist/${packages%/*}"
    : >"$dist/$packages"
    cat >"$dist/Release" <<END
Suite: $suite
Codename: $suite
Date: $(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S UTC')
Components: main
SHA256:
 ${sum%% *} 0 $packages
END
done
{
    echo "deb [trusted=yes] file:$archive $release main"
    tr ' ' '\t' <"$list"
} >"$list.new"
mv "$list.new" "$list"
