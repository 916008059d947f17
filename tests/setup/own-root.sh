#!/bin/sh
# Runs a command where user namespaces are allowed, which testbeds need.
# In a chroot the kernel allows none. There root runs the command in a mount namespace of its own, whose root is the
# folder that the chroot shows: nothing changes for anybody else.
# usage: tests/setup/own-root.sh COMMAND [ARGUMENT…]
set -eu
if [ "$(id -u)" -ne 0 ] || unshare --user true 2>/dev/null; then
    exec "$@"
fi
# pivot_root needs a root that is a mount. A chroot's folder need not be one, and can be made one only from outside:
# with the working folder kept, another chroot leaves the first.
# shellcheck disable=SC2016 # expanded by the shell that runs it
enter='
    new=$(pwd -P)
    mount --make-rprivate /
    mount --rbind "$new" "$new"
    cd "$new"
    pivot_root . .
    umount -l .
    cd "$1"
    shift
    exec "$@"'
# shellcheck disable=SC2016 # perl's variables
exec unshare --mount --propagation unchanged perl -e '
    use strict;
    my ($script, @command) = @ARGV;
    my $aside = `mktemp -d`;
    chomp $aside;
    opendir(my $here, "/") or die "/: $!";
    chdir "/" and chroot $aside or die "chroot: $!";
    chdir ".." for 1 .. 100;
    chroot "." or die "chroot: $!";
    chdir $here or die "chdir: $!";
    exec "/bin/sh", "-c", "rmdir \"\$0\" 2>/dev/null; " . $script, ".$aside", @command;
    die "sh: $!"' "$enter" "$PWD" "$@"
