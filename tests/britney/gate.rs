//! A real britney, unmodified: its data, its runs, and what it says.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use proofhouse_tests::keeper::{Keeper, run};
use serde_json::Value;

use crate::archive::{self, ARCH, RELEASE};

/// britney needs Debian's Python modules, whatever `python3` comes first in PATH.
const PYTHON: &str = "/usr/bin/python3";

/// What a gate is told: where it sends requests and reads results.
pub(crate) struct Settings<'a> {
    /// `amqp://user:password@host`: britney reads nothing else of it.
    pub(crate) amqp: &'a str,
    /// Where containers are: `{swift}/autopkgtest-{release}`.
    pub(crate) swift: &'a str,
    /// The site, for links; without a slash at the end.
    pub(crate) site: &'a str,
    /// A package that causes more tests than this on one architecture is bulk.
    pub(crate) huge: u32,
    /// The PPAs that packages come from, separated by blanks; the last names the container.
    pub(crate) ppas: &'a str,
    /// The published database; without one britney lists the containers.
    pub(crate) database: Option<&'a str>,
}

/// A britney with data of its own.
pub(crate) struct Gate {
    program: PathBuf,
    keeper: Keeper,
    /// It asks the published database.
    published: bool,
}

impl Gate {
    /// Finds britney by `BRITNEY_DIR` and makes its data.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let folder = env::var_os("BRITNEY_DIR").map(PathBuf::from).context(
            "BRITNEY_DIR is not set: it names a checkout of britney2-ubuntu (make britney BRITNEY_DIR=…)",
        )?;
        let folder = folder.canonicalize().with_context(|| format!("BRITNEY_DIR={}", folder.display()))?;
        let keeper = Keeper::new("britney")?;
        archive::write_indexes(&keeper.dir().join("data"))?;
        let shipped =
            fs::read_to_string(folder.join("britney.conf")).context("britney.conf of BRITNEY_DIR")?;
        fs::write(keeper.dir().join("britney.conf"), configuration(settings, &shipped))?;
        Ok(Self { program: folder.join("britney.py"), keeper, published: settings.database.is_some() })
    }

    /// Runs britney once, as the archive's cron does. It asked for every result that it finds.
    pub(crate) async fn run(&self) -> Result<Excuses> {
        if self.published {
            // It reads a package's results once for each trigger, and says so of what it took before.
            return self.run_after_others().await;
        }
        self.run_unless(&["damaged", "Failure to fetch", "does not match any pending request"]).await
    }

    /// Runs britney once; some results came because somebody else asked.
    pub(crate) async fn run_after_others(&self) -> Result<Excuses> {
        self.run_unless(&["damaged", "Failure to fetch"]).await
    }

    async fn run_unless(&self, complaints: &[&str]) -> Result<Excuses> {
        let mut command = self.python();
        command.arg(&self.program).args(["-c", "britney.conf", "--series", RELEASE]);
        command.args(["--distribution", "ubuntu", "-v"]);
        let printed = run(command).await?;
        println!("{printed}");
        for complaint in complaints {
            anyhow::ensure!(!printed.contains(complaint), "britney complains: {complaint}");
        }
        let mut command = self.python();
        let convert =
            "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout, default=str)";
        command.args(["-c", convert, "output/excuses.yaml"]);
        Ok(Excuses(serde_json::from_str(&run(command).await?)?))
    }

    /// The tests that britney waits for: `{trigger: {package: [arch]}}`.
    pub(crate) fn pending(&self) -> Result<Value> {
        let path = format!("data/{RELEASE}/state/autopkgtest-pending.json");
        Ok(serde_json::from_slice(&fs::read(self.path(&path))?)?)
    }

    /// The version of a source package that britney's last run put into the release.
    pub(crate) fn released(&self, package: &str) -> Result<String> {
        let heidi = fs::read_to_string(self.path("output/HeidiResult"))?;
        let mut lines = heidi.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let source = lines.find(|words| words[0] == package && words.get(2) == Some(&"source"));
        source.map(|words| words[1].to_owned()).with_context(|| format!("{package} is not in\n{heidi}"))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.keeper.dir().join(path)
    }

    fn python(&self) -> Command {
        let dir: &Path = self.keeper.dir();
        let mut command = self.keeper.command(PYTHON);
        // Nothing is written into the checkout.
        command.current_dir(dir).env("HOME", dir).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// Ubuntu's configuration with what is ours before it: britney takes the first value that is not empty. What must be
/// empty is cut out of it.
fn configuration(settings: &Settings, shipped: &str) -> String {
    let Settings { amqp, swift, site, huge, ppas, database } = settings;
    let database = database.map_or(String::new(), |url| format!("ADT_DB_URL = {url}\n"));
    let ppas = if ppas.is_empty() { String::new() } else { format!("ADT_PPAS = {ppas}\n") };
    let rest: Vec<&str> = shipped.lines().filter(|line| !line.starts_with("ADT_DB_URL")).collect();
    format!(
        "EXCUSES_OUTPUT = output/excuses.html\nEXCUSES_YAML_OUTPUT = output/excuses.yaml\n\
         UPGRADE_OUTPUT = output/output.txt\nHEIDI_OUTPUT = output/HeidiResult\nARCHITECTURES = {ARCH}\n\
         EMAIL_ENABLE = no\nADT_AMQP = {amqp}\nADT_SWIFT_URL = {swift}\nADT_CI_URL = {site}/\n\
         ADT_HUGE = {huge}\n{ppas}{database}{}\n",
        rest.join("\n")
    )
}

/// Where britney links to.
pub(crate) struct Links<'a> {
    /// The log, or the running tests while there is none.
    pub(crate) log: Option<&'a str>,
    /// All runs of the test; none where PPAs are tested.
    pub(crate) history: Option<&'a str>,
    /// Where PPAs are tested, what the run left.
    pub(crate) artifacts: Option<&'a str>,
    /// What a person opens to have a failed test run again.
    pub(crate) retry: Option<&'a str>,
}

/// What britney says of the packages that wait, as it writes it (`excuses.yaml`).
pub(crate) struct Excuses(Value);

impl Excuses {
    /// The verdict on a package: `PASS`, `REJECTED_TEMPORARILY`, `REJECTED_PERMANENTLY`, …
    pub(crate) fn verdict(&self, package: &str) -> &str {
        self.policy(package)["verdict"].as_str().unwrap_or("none")
    }

    /// The status of one test that a package waits for, such as `RUNNING` or `PASS`.
    pub(crate) fn status(&self, package: &str, test: &str) -> &str {
        self.test(package, test)[0].as_str().unwrap_or("none")
    }

    /// The addresses that britney shows for one test.
    pub(crate) fn links(&self, package: &str, test: &str) -> Links<'_> {
        let link = |place: usize| self.test(package, test)[place].as_str();
        Links { log: link(1), history: link(2), artifacts: link(3), retry: link(4) }
    }

    fn policy(&self, package: &str) -> &Value {
        let sources = self.0["sources"].as_array().map_or(&[][..], Vec::as_slice);
        let source = sources.iter().find(|source| source["source"] == package);
        source.map_or(&Value::Null, |source| &source["policy_info"]["autopkgtest"])
    }

    /// A test's key is the package, with the version behind a slash once there is a result.
    fn test(&self, package: &str, test: &str) -> &Value {
        let tests = self.policy(package).as_object();
        let found = tests.and_then(|tests| tests.iter().find(|(key, _)| key.split('/').next() == Some(test)));
        found.map_or(&Value::Null, |(_, entry)| &entry[ARCH])
    }
}
