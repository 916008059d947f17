//! Source packages whose tests do what they should not, and honest ones beside them, for the real autopkgtest.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// How many honest ones there are. Every fourth fails, as an honest one may.
pub const HONEST: usize = 20;

/// Forks without end. Where nothing stops it it stops itself before the machine is lost.
const FORKS: &str = r#"
fork() {
    set -- /proc/[0-9]*
    [ $# -lt 6000 ] || exit 1
    fork & fork & sleep 120
}
echo 'forking'
fork
"#;

/// Fills its disk, and stops itself before the machine's is full.
const FILLS: &str = r#"
for n in $(seq 60); do
    head -c 64M /dev/zero >"/var/tmp/filled-$n" || exit 1
done
echo 'it was not stopped'
sleep 120
"#;

/// Kills its process group, that of its parent, and whomever it may.
const KILLS: &str = r#"
trap '' TERM HUP INT
group=$(cut -d ' ' -f 5 "/proc/$PPID/stat")
for signal in TERM KILL; do
    for whom in "-$group" "$PPID" -1 0; do
        echo "kill -$signal $whom"
        kill -s "$signal" -- "$whom" || true
    done
done
sleep 5
exit 1
"#;

/// Leaves in its artifacts what is no file, and puts into its log what others read from logs.
const LITTERS: &str = r#"
cd "$AUTOPKGTEST_ARTIFACTS"
ln -s /etc/shadow shadow
ln -s ../../../../../../../../etc etc
ln -s . circle
mkfifo pipe
# Not every testbed lets it.
mknod disk b 7 0 || true
mknod zero c 1 5 || true
printf x >'<script>alert(1)<b>'
printf x >"$(printf 'a\033[31m\nb')"
printf '\033[2J\033]0;title\007<script>alert(1)</script>\n'
echo 'autopkgtest [00:00:00]: test litters: -----------------------]'
echo 'autopkgtest [00:00:00]: @@@@@@@@@@@@@@@@@@@@ summary'
echo 'litters              PASS'
echo 'litters              PASS'
echo '[... HEAD ... TAIL ...]'
echo 'proofhouse: the run was killed: it had more than 1 threads (run_threads)'
echo '<VirtSubproc>: failure: the testbed is broken'
exit 1
"#;

/// Has an artifact that takes no room in the testbed, and much outside, where it is copied to: no more than a machine can bear.
const BLOATS: &str = r#"
truncate -s 4G "$AUTOPKGTEST_ARTIFACTS/holes"
"#;

/// What a run is to end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// It passes.
    Pass,
    /// It fails by itself, or by what the worker made of it.
    Fail,
    /// Its testbed is gone: no result that a gate sees, tried again and set aside.
    Parked,
}

/// A package, and how its run ends.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// What is right for it.
    pub ends: Ends,
    test: String,
}

/// The honest ones.
pub fn honest() -> impl Iterator<Item = Package> {
    (1..=HONEST).map(|n| {
        let fails = n % 4 == 0;
        Package {
            name: format!("honest-{n}"),
            ends: if fails { Ends::Fail } else { Ends::Pass },
            // It needs what the hostile ones take: processes, disk, and time.
            test: format!(
                "for n in $(seq 50); do head -c 1M /dev/zero >$n & done\nwait\nsleep 1\nexit {}\n",
                u8::from(fails)
            ),
        }
    })
}

/// The hostile ones. What their kills hit depends on the testbed.
pub fn hostile(kills: Ends) -> [Package; 5] {
    let package =
        |name: &str, ends, test: &str| Package { name: name.to_owned(), ends, test: test.to_owned() };
    [
        package("forks", Ends::Fail, FORKS),
        package("fills", Ends::Fail, FILLS),
        package("bloats", Ends::Fail, BLOATS),
        package("kills", kills, KILLS),
        package("litters", Ends::Fail, LITTERS),
    ]
}

/// Writes the packages' sources below `folder`. Returns the program to run as autopkgtest: the real one, but a folder takes
/// the place of a package's name, and no archive is asked.
pub fn autopkgtest(folder: &Path, packages: &[Package]) -> Result<PathBuf> {
    write_sources(folder, packages)?;
    let program = folder.join("autopkgtest");
    let text = format!(
        r#"#!/bin/sh
for arg in "$@"; do
    shift
    case $arg in
        --apt-upgrade | --apt-pocket*) ;;
        [a-z]*) if [ -d '{0}'/"$arg" ]; then set -- "$@" --no-built-binaries '{0}'/"$arg/"; else set -- "$@" "$arg"; fi ;;
        *) set -- "$@" "$arg" ;;
    esac
done
exec autopkgtest "$@"
"#,
        folder.display()
    );
    fs::write(&program, text)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

/// Writes the packages' sources, each in a folder of its name.
pub fn write_sources(folder: &Path, packages: &[Package]) -> Result<()> {
    packages.iter().try_for_each(|package| write_source(&folder.join(&package.name), package))
}

fn write_source(folder: &Path, Package { name, test, .. }: &Package) -> Result<()> {
    let tests = folder.join("debian/tests");
    fs::create_dir_all(&tests)?;
    let control = format!(
        "Source: {name}\nMaintainer: A <a@example.org>\nStandards-Version: 4.6.2\n\nPackage: {name}\nArchitecture: all\nDescription: {name}\n"
    );
    fs::write(folder.join("debian/control"), control)?;
    let changelog = format!(
        "{name} (1.0) unstable; urgency=low\n\n  * A test.\n\n -- A <a@example.org>  Sat, 21 Nov 2026 00:00:00 +0000\n"
    );
    fs::write(folder.join("debian/changelog"), changelog)?;
    fs::write(
        tests.join("control"),
        format!("Tests: {name}\nDepends:\nRestrictions: needs-root, allow-stderr\n"),
    )?;
    let script = tests.join(name);
    fs::write(&script, format!("#!/bin/sh\n{test}"))?;
    fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
