//! Source packages whose tests do what they should not, and honest ones beside them, for the real autopkgtest.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use nix::unistd::Pid;
use serde_json::Value;

use crate::{
    cluster::PATIENCE,
    proofhouse::{self, Proofhouse},
    wait::wait_for,
};

/// How many honest ones there are. Every fourth fails, as an honest one may.
pub const HONEST: usize = 20;

/// Forks without end. Where nothing stops it it stops itself before the machine is lost.
const FORKS: &str = r"
fork() {
    set -- /proc/[0-9]*
    [ $# -lt 6000 ] || exit 1
    fork & fork & sleep 60
}
echo 'forking'
fork
exit 1
";

/// Fills its disk, and stops itself before the machine's is full.
const FILLS: &str = r#"
for n in $(seq 60); do
    head -c 64M /dev/zero >"/var/tmp/filled-$n" || exit 1
done
echo 'it was not stopped'
sleep 120
"#;

/// Kills its process group and its parent's, its parent, and whomever else it may.
const KILLS: &str = r#"
trap '' TERM HUP INT
group=$(cut -d ' ' -f 5 "/proc/$PPID/stat")
for whom in WHOM; do
    kill -s SIGNAL -- "$whom" || true
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

/// An honest one that runs while the hostile ones come and go, on two slots beside it.
pub fn patient() -> Package {
    Package { name: "patient".to_owned(), ends: Ends::Pass, test: "sleep 150\n".to_owned() }
}

/// The hostile ones.
pub fn hostile() -> impl Iterator<Item = Package> {
    let package = |name: &str, test: String| Package { name: name.to_owned(), ends: Ends::Fail, test };
    let kills = |signal: &str, whom: &str| KILLS.replace("SIGNAL", signal).replace("WHOM", whom);
    [
        package("forks", FORKS.to_owned()),
        package("fills", FILLS.to_owned()),
        package("bloats", BLOATS.to_owned()),
        package("terminates", kills("TERM", r#""-$group" "$PPID" -1 0"#)),
        package("kills", kills("KILL", r#""-$group" 0"#)),
        package("kills-all", kills("KILL", r#"-1 "$PPID" "-$group""#)),
        package("litters", LITTERS.to_owned()),
    ]
    .into_iter()
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

/// Two dozen real testbeds on two processors.
const ALL_OF_THEM: Duration = Duration::from_secs(1800);

/// What an `up` keeps of the runs of a release and an arch.
#[derive(Debug)]
pub struct Runs<'a> {
    up: &'a Proofhouse,
    release: String,
    arch: String,
}

impl<'a> Runs<'a> {
    /// Asks for all of these at once.
    pub async fn ask(up: &'a Proofhouse, release: &str, arch: &str, packages: &[Package]) -> Result<Self> {
        for Package { name, .. } in packages {
            let (trigger, data) = (format!("{name}/1.0"), up.data().display().to_string());
            let asked = ["request", release, arch, name, "--trigger", &trigger, "--data", &data];
            let output = proofhouse::run(&asked, &[]).await?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(Self { up, release: release.to_owned(), arch: arch.to_owned() })
    }

    /// Waits until each has the one result that is right for it.
    pub async fn end(&self, packages: &[Package]) -> Result<()> {
        let url = format!("{}/api/experimental/recent.json?limit=100", self.up.site_url()?);
        let outcomes = async || -> Result<Vec<(String, Ends)>> {
            let recent: Vec<Value> = reqwest::get(&url).await?.json().await?;
            recent.iter().map(ended).collect()
        };
        let all = wait_for("all results", ALL_OF_THEM, async || {
            outcomes().await.is_ok_and(|outcomes| outcomes.len() >= packages.len()).then_some(())
        });
        if let Err(late) = all.await {
            bail!("{late:#}; there are {:?}", outcomes().await);
        }
        let mut outcomes = outcomes().await?;
        outcomes.sort_by(|a, b| a.0.cmp(&b.0));
        let mut expected: Vec<_> = packages.iter().map(|p| (p.name.clone(), p.ends)).collect();
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(((name, ends), _)) = outcomes.iter().zip(&expected).find(|(one, other)| one != other) {
            bail!("{name} ended by {ends:?} ({outcomes:?}, not {expected:?}); its log:\n{}", self.log(name)?);
        }
        Ok(())
    }

    /// The folder of a package's only run.
    pub fn folder(&self, package: &str) -> Result<PathBuf> {
        let Self { up, release, arch } = self;
        let runs = up.data().join(format!("store/autopkgtest-{release}/{release}/{arch}"));
        let mut runs = fs::read_dir(runs.join(&package[..1]).join(package))?;
        Ok(runs.next().context("a run")??.path())
    }

    fn file(&self, package: &str, name: &str) -> Result<GzDecoder<fs::File>> {
        Ok(GzDecoder::new(fs::File::open(self.folder(package)?.join(name))?))
    }

    /// Its log.
    pub fn log(&self, package: &str) -> Result<String> {
        let mut bytes = Vec::new();
        self.file(package, "log.gz")?.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The page of its run.
    pub async fn page(&self, package: &str) -> Result<String> {
        let (site, run) = (self.up.site_url()?, self.folder(package)?);
        let run_id = run.file_name().unwrap_or_default().to_string_lossy();
        let page = format!("{site}/packages/{package}/{}/{}/{run_id}", self.release, self.arch);
        Ok(reqwest::get(page).await?.error_for_status()?.text().await?)
    }

    /// The site shows what `litters` printed and left as text; links are links, and what was no file is not there.
    pub async fn litter_is_harmless(&self) -> Result<()> {
        let log = self.log("litters")?;
        ensure!(log.trim_end().ends_with("litters              FAIL non-zero exit status 1"), "{log}");
        let run_id = self.folder("litters")?;
        let run_id = run_id.file_name().unwrap_or_default().to_string_lossy();
        let page = format!("{}/packages/litters/{}/{}", self.up.site_url()?, self.release, self.arch);
        for page in [page.clone(), format!("{page}/{run_id}"), format!("{page}/{run_id}/log")] {
            let page = reqwest::get(page).await?.error_for_status()?.text().await?;
            ensure!(!page.contains("<script>") && !page.contains('\u{1b}'), "{page}");
        }
        let mut archive = tar::Archive::new(self.file("litters", "artifacts.tar.gz")?);
        let mut names = Vec::new();
        for entry in archive.entries()? {
            let entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            ensure!(kind.is_file() || kind.is_dir() || kind.is_symlink(), "{name}: {kind:?}");
            ensure!(!name.starts_with('/') && !name.contains(".."), "{name}");
            names.push(name);
        }
        for name in ["pipe", "disk", "zero"] {
            ensure!(!names.iter().any(|n| n.ends_with(&format!("/{name}"))), "{name} in {names:?}");
        }
        Ok(())
    }

    /// The same process serves on, and nothing of a run is left.
    pub async fn nothing_is_left(&self) -> Result<()> {
        ensure!(self.up.process().ended()?.is_none(), "up ended");
        wait_for("the work folders to be gone", PATIENCE, async || {
            let work = fs::read_dir(self.up.data().join("work")).ok()?;
            work.flatten().all(|w| fs::read_dir(w.path()).is_ok_and(|w| w.count() == 0)).then_some(())
        })
        .await?;
        // The process itself, and the one that forks guards.
        let left = || self.up.processes().into_iter().filter_map(words).collect::<Vec<_>>();
        let gone =
            wait_for("the runs' processes to be gone", PATIENCE, async || (left().len() <= 2).then_some(()));
        gone.await.with_context(|| left().join("\n"))?;
        self.up.sigterm()?;
        ensure!(self.up.wait(PATIENCE).await?.success(), "up does not end well");
        Ok(())
    }
}

/// A living process, by its arguments.
fn words(pid: Pid) -> Option<String> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(format!("{pid} {}", String::from_utf8_lossy(&arguments).replace('\0', " ")))
}

/// A row of `recent.json`.
fn ended(row: &Value) -> Result<(String, Ends)> {
    let package = row["package"].as_str().with_context(|| format!("a package in {row}"))?;
    let ends = match row["exitcode"].as_i64().or_else(|| row["exitcode"].as_str()?.parse().ok()) {
        Some(0) => Ends::Pass,
        Some(4) => Ends::Fail,
        other => bail!("{other:?}: {row}"),
    };
    Ok((package.to_owned(), ends))
}
