# shellcheck shell=sh
# Ends an LXD and takes back all it did to the machine. The keeper's hook of `Lxd`; $DIR is its folder.
export LXD_DIR="$DIR/lxd" LXD_CONF="$DIR/conf"
if timeout 10 lxc query /1.0 >/dev/null 2>&1; then
    for name in $(lxc list -c n -f csv); do timeout 60 lxc delete -f "$name"; done
    for image in $(lxc image list -c f -f csv); do lxc image delete "$image"; done
    for device in root eth0; do lxc profile device remove default "$device"; done
    for bridge in $(lxc network list -f csv | grep ,bridge,YES, | cut -d, -f1); do lxc network delete "$bridge"; done
    lxc storage delete default
    lxd shutdown --timeout 20
    # What is left of its firewall rules, unless another LXD has its own there.
    [ "$(nft list table inet lxd 2>/dev/null | wc -l)" -ne 2 ] || nft delete table inet lxd
fi >/dev/null
if [ -e "$DIR/lxcfs.pid" ]; then
    kill "$(cat "$DIR/lxcfs.pid")"
    umount -l /var/lib/lxcfs
fi 2>/dev/null
# They are mounted again and again over each other.
for mount in devlxd shmounts; do
    while umount -l "$LXD_DIR/$mount" 2>/dev/null; do :; done
done
