#!/bin/sh
# Installs the Debian packages that a purpose needs, and says first which and what for.
# usage: tests/setup/install.sh lint|simulate|fuzz|demo|test|faults|verify|britney|upstream      (the last four include test, test includes demo)
# Says and does nothing where all is there. Starts no service. As another user than root it asks sudo.
set -eu

purpose=${1:-}
missing='' reasons=''

# need REASON PACKAGE…: notes what is missing of them
need() {
    reason=$1 absent=''
    shift
    for package in "$@"; do
        case " $installed " in *" $package "*) ;; *) absent="$absent $package" ;; esac
    done
    [ -n "$absent" ] || return 0
    missing="$missing$absent"
    reasons="$reasons
 $absent  ($reason)"
}

build() { need 'to build' build-essential pkg-config ca-certificates git; }

demo() {
    build
    need 'to test packages on fresh testbeds' autopkgtest mmdebstrap uidmap
}

tests() {
    demo
    need 'the broker' rabbitmq-server
    need 'the database' postgresql
    need 'the object store' swift-proxy swift-account swift-container swift-object memcached attr keystone
    need 'another S3 server, and programs that check the site' python3-venv
    need 'a proxy before two webs' haproxy
    need 'clocks that differ' libfaketime
}

faults() {
    tests
    need 'testbeds in containers' lxd lxd-client lxcfs liblxc-common nftables btrfs-progs dnsmasq-base \
        squashfs-tools rsync iproute2 xz-utils
}

verify() {
    faults
    need 'the site in a browser' chromium chromium-driver
    command -v npm >/dev/null || need 'an accessibility checker' npm
}

britney() {
    tests
    need 'britney' python3-apt python3-amqplib python3-yaml
}

upstream() {
    tests
    need "the old system's programs" python3-apt python3-pika python3-swiftclient
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Where this script made policy-rc.d it goes again; one that an administrator made stays.
policy=/usr/sbin/policy-rc.d

install_missing() {
    echo "Proofhouse ($purpose) installs these Debian packages:$reasons"
    if ! command -v apt-get >/dev/null; then
        echo 'There is no apt-get here: install them, or what they are called here, by hand.' >&2
        exit 1
    fi
    if [ ! -e $policy ]; then
        trap 'as_root rm -f $policy' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    as_root apt-get -o DPkg::Lock::Timeout=300 -qq update
    # shellcheck disable=SC2086 # one word per package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y \
        --no-install-recommends install $missing
}

# subordinate_ids FILE: unprivileged user namespaces need a range of ids, for root too, who has none by default.
subordinate_ids() {
    user=$(id -un)
    ! grep -qs "^$user:" "$1" || return 0
    first=$(awk -F: '{ end = $2 + $3; if (end > max) max = end } END { print max > 100000 ? max : 100000 }' \
        "$1" 2>/dev/null || echo 100000)
    echo "Proofhouse ($purpose) adds $user:$first:65536 to $1 (testbeds in user namespaces)"
    echo "$user:$first:65536" | as_root tee -a "$1" >/dev/null
}

# moto: an S3 server with bucket policies, from PyPI, in a folder that outlives the clone.
moto=5.2.5
moto() {
    folder="$cache/moto-$moto"
    [ ! -e "$folder/bin/moto_server" ] || return 0
    echo "Proofhouse ($purpose) installs moto $moto from PyPI into $folder (another S3 server; 10 s, 140 MB)"
    rm -rf "$folder.new"
    /usr/bin/python3 -m venv "$folder.new"
    "$folder.new/bin/pip" install --quiet --disable-pip-version-check "moto[s3]==$moto" flask flask-cors
    # The programs name the interpreter by its path.
    sed -i "1s|$folder.new|$folder|" "$folder.new/bin/moto_server"
    rm -rf "$folder"
    mv "$folder.new" "$folder"
}

here=$(dirname "$0")
cache="${XDG_CACHE_HOME:-$HOME/.cache}/proofhouse"

# folder_for NAME LOCK: a folder that outlives the clone; another lock, another folder.
folder_for() { echo "$cache/$1-$(sha256sum <"$2" | cut -c1-12)"; }

# checkers: schemathesis, clients and validators, from PyPI, each at the version that its list names.
checkers() {
    folder=$(folder_for checkers "$here/checkers.txt")
    [ ! -e "$folder" ] || return 0
    echo "Proofhouse ($purpose) installs the list $here/checkers.txt from PyPI into $folder (programs that check the site; 30 s, 110 MB)"
    rm -rf "$folder.new"
    /usr/bin/python3 -m venv "$folder.new"
    "$folder.new/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/checkers.txt"
    mv "$folder.new" "$folder"
}

# axe: a checker of accessibility that runs inside the browser, from npm, with the checksum of its lock.
axe() {
    folder=$(folder_for axe "$here/axe/package-lock.json")
    [ ! -e "$folder" ] || return 0
    echo "Proofhouse ($purpose) installs axe-core from npm into $folder (an accessibility checker; 5 s, 4 MB)"
    rm -rf "$folder.new"
    mkdir -p "$folder.new"
    cp "$here/axe/package.json" "$here/axe/package-lock.json" "$folder.new"
    npm ci --silent --ignore-scripts --no-audit --no-fund --prefix "$folder.new"
    mv "$folder.new" "$folder"
}

# shellcheck disable=SC2016 # the dollar sign is dpkg-query's
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p' | tr '\n' ' ')
case $purpose in
    simulate | fuzz) build ;;
    lint) build && need 'to check shell scripts' shellcheck && need 'to unpack advisories' xz-utils ;;
    demo) demo ;;
    test) tests ;;
    faults) faults ;;
    verify) verify ;;
    britney) britney ;;
    upstream) upstream ;;
    *)
        sed -n '2,4s/^# //p' "$0" >&2
        exit 2
        ;;
esac
[ -z "$missing" ] || install_missing
case $purpose in test | faults | verify) moto; checkers ;; esac
[ "$purpose" != verify ] || axe
if [ "$purpose" != lint ] && [ "$purpose" != fuzz ]; then
    subordinate_ids /etc/subuid
    subordinate_ids /etc/subgid
fi
