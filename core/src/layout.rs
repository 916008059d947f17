//! Where things lie in the object store.
//!
//! Facts: contract "Results", headings "Containers" and "Objects".

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    names::{BadName, Package, Pair, Release},
    params::Ppa,
    run_id::RunId,
};

/// A container's name: `[private-]autopkgtest-{release}[-{owner}-{ppa}]`, [`ATTEMPTS`] or [`PUBLISHED`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Container(String);

/// Where the logs of failed attempts lie: private, never among results.
pub const ATTEMPTS: &str = "proofhouse-attempts";

/// Where the published database lies: public.
pub const PUBLISHED: &str = "proofhouse-published";

impl Container {
    /// The container of a run: named after the release and the last PPA.
    pub fn of_run(release: &Release, last_ppa: Option<&Ppa>, private: bool) -> Self {
        let private = if private { "private-" } else { "" };
        match last_ppa {
            Some(ppa) => Self(format!("{private}autopkgtest-{release}-{}-{}", ppa.owner, ppa.name)),
            None => Self(format!("{private}autopkgtest-{release}")),
        }
    }

    /// The container of failed attempts' logs.
    pub fn attempts() -> Self {
        Self(ATTEMPTS.to_owned())
    }

    /// The container of the published database.
    pub fn published() -> Self {
        Self(PUBLISHED.to_owned())
    }

    /// True where only named readers may look.
    pub fn is_private(&self) -> bool {
        self.0.starts_with("private-") || self.0 == ATTEMPTS
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Container {
    type Err = BadName;
    /// Any name that is one plain path segment: readers ask for containers of other systems too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = text.len() <= 256
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName::new("container", text, "letters, digits and . _ + -"))
        }
    }
}

impl TryFrom<String> for Container {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Container> for String {
    fn from(container: Container) -> Self {
        container.0
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs that must be published one after another: britney never sees a smaller run id that comes late.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Series {
    /// The container.
    pub container: Container,
    /// Release and arch.
    pub pair: Pair,
    /// The package.
    pub package: Package,
}

impl Series {
    /// `{release}/{arch}/{prefix}/{package}/`: the prefix that readers list.
    pub fn prefix(&self) -> String {
        let Pair { release, arch } = &self.pair;
        format!("{release}/{arch}/{}/{}/", self.package.prefix(), self.package)
    }

    /// The folder of one run, without a slash at its end: the `swift_dir` of messages.
    pub fn folder(&self, run_id: &RunId) -> String {
        format!("{}{run_id}", self.prefix())
    }

    /// One file of a run.
    pub fn object(&self, run_id: &RunId, file: &str) -> String {
        format!("{}/{file}", self.folder(run_id))
    }
}

/// The log of an attempt that is no result, in [`Container::attempts`]; `uuid` is its job's own.
pub fn attempt_log(uuid: impl fmt::Display, attempt: impl fmt::Display) -> String {
    format!("{uuid}/{attempt}/{}", file::LOG)
}

/// The files of a run.
pub mod file {
    /// Exit code, version, duration, testinfo: the commit mark.
    pub const RESULT: &str = "result.tar";
    /// The log, gzip.
    pub const LOG: &str = "log.gz";
    /// Everything else of the output folder.
    pub const ARTIFACTS: &str = "artifacts.tar.gz";
    /// Who may read a private run, a name a line.
    pub const READABLE_BY: &str = "readable-by";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_objects() {
        let release: Release = "noble".parse().unwrap();
        let ppa: Ppa = "u:t@owner/name:AB".parse().unwrap();
        assert_eq!(Container::of_run(&release, None, false).as_str(), "autopkgtest-noble");
        assert_eq!(Container::of_run(&release, Some(&ppa), false).as_str(), "autopkgtest-noble-owner-name");
        let private = Container::of_run(&release, Some(&ppa), true);
        assert_eq!(private.as_str(), "private-autopkgtest-noble-owner-name");
        assert!(private.is_private() && Container::attempts().is_private());

        let series = Series {
            container: Container::of_run(&release, None, false),
            pair: "noble/amd64".parse().unwrap(),
            package: "libzstd".parse().unwrap(),
        };
        let run_id: RunId = "20261121_053634_abcde@".parse().unwrap();
        assert_eq!(
            series.object(&run_id, file::RESULT),
            "noble/amd64/libz/libzstd/20261121_053634_abcde@/result.tar"
        );
        assert_eq!(series.folder(&run_id).split('/').count(), 5);
    }

    #[test]
    fn names_that_lead_out() {
        for bad in ["", ".", "..", "a/b", "%2e", "-x", "a b", ".r:*"] {
            assert!(bad.parse::<Container>().is_err(), "{bad:?}");
        }
    }
}
