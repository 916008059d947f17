//! What `proofhouse request` takes, and the parameters that it becomes.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use proofhouse_core::{
    names::{Arch, Context, Package, Release},
    params::{BzrSource, EnvVar, GitSource, Person, Ppa, SwiftUser, TestName, Trigger},
};
use serde_json::{Map, Value};

use crate::servers::{OfPools, Part};

pub(crate) const EXAMPLES: &str = "\
Examples:
  proofhouse request noble amd64 hello
  proofhouse request noble amd64 gzip --trigger glibc/2.39-1 --wait
  proofhouse request noble amd64 --trigger glibc/2.39-1 --file packages.txt
  proofhouse request --file britney.list

With an AMQP broker (--bus) the request goes by the broker, as any client's; else into the job table, which is that of a \
`proofhouse up` with the same --data.

A line of a list is one of these; in the first, release and arch are those of the command, and the parameters may be \
missing:
  hello {\"triggers\": [\"green/2\"]}
  {\"release\": \"noble\", \"arch\": \"amd64\", \"package\": \"hello\"}
  debci-noble-amd64:hello {\"triggers\": \"green/2 blue/1\"}
Options that say what to test with hold for every line that does not say so itself. Bad lines are listed, and the \
others sent. A PPA's credentials are seen by everyone on this machine when they are given as an option: give them by --file -.

--wait ends with 0 for pass and neutral, 1 for fail, 4 where infrastructure kept a test from running.";

/// What to test, and with what.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// The release
    #[arg(required_unless_present = "file")]
    pub(crate) release: Option<Release>,
    /// The architecture
    #[arg(required_unless_present = "file", requires = "release")]
    pub(crate) arch: Option<Arch>,
    /// The source package
    #[arg(required_unless_present = "file", conflicts_with = "file", requires = "arch")]
    pub(crate) package: Option<Package>,
    /// A list of requests, one a line; - is the standard input
    #[arg(long, value_name = "LIST", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Follow it to its end, and end with the outcome's status
    #[arg(long)]
    pub(crate) wait: bool,
    /// Print one JSON value
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) with: Parameters,
    #[command(flatten)]
    pub(crate) settings: Part<OfPools>,
}

/// The parameters of a request.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What to test with")]
pub(crate) struct Parameters {
    /// The queue's context: ubuntu, huge, ppa or upstream [default: by the parameters]
    #[arg(long)]
    pub(crate) context: Option<Context>,
    /// What made the test necessary; the migrating package first
    #[arg(long, value_name = "SRC/VERSION")]
    trigger: Vec<Trigger>,
    /// A further archive; the last one names the result's container
    #[arg(long, value_name = "[USER:TOKEN@]OWNER/PPA[:FINGERPRINT]")]
    ppa: Vec<Ppa>,
    /// A variable of the test's environment
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<EnvVar>,
    /// Tests from this repository, packages from the archive
    #[arg(long, value_name = "URL[#BRANCH]")]
    test_git: Option<GitSource>,
    /// A repository that is built and tested
    #[arg(long, value_name = "URL[#BRANCH]")]
    build_git: Option<GitSource>,
    /// As --test-git, by bzr
    #[arg(long, value_name = "URL")]
    test_bzr: Option<BzrSource>,
    /// All of -proposed, not the triggers alone
    #[arg(long)]
    all_proposed: bool,
    /// One test only
    #[arg(long, value_name = "NAME")]
    testname: Option<TestName>,
    /// Makes the run private; this user of the store may read the result
    #[arg(long = "swiftuser", id = "reader", value_name = "USER")]
    swiftuser: Option<SwiftUser>,
    /// Who may read a private result on the site
    #[arg(long, value_name = "PERSON")]
    readable_by: Vec<Person>,
    /// Who asks
    #[arg(long, value_name = "NAME")]
    requester: Option<Person>,
    /// Run it again although the same is queued or runs
    #[arg(long)]
    force: bool,
}

impl Parameters {
    /// As a message on a queue has them.
    pub(crate) fn params(&self, now: Timestamp) -> Map<String, Value> {
        fn texts<T: ToString>(items: &[T]) -> Option<Value> {
            (!items.is_empty()).then(|| items.iter().map(ToString::to_string).collect::<Vec<_>>().into())
        }
        fn text<T: ToString>(item: Option<&T>) -> Option<Value> {
            item.map(|item| item.to_string().into())
        }
        let ppas: Vec<String> = self.ppa.iter().map(Ppa::reveal).collect();
        let submitted = now.strftime("%Y-%m-%d %H:%M:%S+0000").to_string();
        [
            ("triggers", texts(&self.trigger)),
            ("ppas", texts(&ppas)),
            ("env", texts(&self.env)),
            ("test-git", text(self.test_git.as_ref())),
            ("build-git", text(self.build_git.as_ref())),
            ("test-bzr", text(self.test_bzr.as_ref())),
            ("all-proposed", self.all_proposed.then(|| "1".into())),
            ("testname", text(self.testname.as_ref())),
            ("swiftuser", text(self.swiftuser.as_ref())),
            ("readable-by", texts(&self.readable_by)),
            ("requester", text(self.requester.as_ref())),
            ("force", self.force.then(|| "1".into())),
            ("submit-time", Some(submitted.into())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
    }
}
