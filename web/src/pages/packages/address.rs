//! What an address below `/packages/` means.

use proofhouse_core::{
    names::{Package, Pair},
    run_id::RunId,
};

/// What an address below `/packages/` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Package(Package),
    Runs(Package, Pair),
    Run(Package, Pair, RunId),
    Log(Package, Pair, RunId),
}

impl Address {
    /// Reads `[{prefix}/]{package}[/{release}/{arch}[/{run_id}[/log]]]`; a slash may end it.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        // Five or six parts that end in "log" can only be a log; a package of that name has fewer.
        let log = parts.len() >= 5 && parts.last() == Some(&"log");
        if log {
            parts.pop();
        }
        let run_id: Option<RunId> = parts.last().filter(|_| parts.len() >= 4).and_then(|p| p.parse().ok());
        if run_id.is_some() {
            parts.pop();
        }
        let (package, pair) = match parts[..] {
            [package] => (package.parse().ok()?, None),
            [prefix, package] => (prefixed(prefix, package)?, None),
            [package, release, arch] => (package.parse().ok()?, Some((release, arch))),
            [prefix, package, release, arch] => (prefixed(prefix, package)?, Some((release, arch))),
            _ => return None,
        };
        let pair = match pair {
            Some((release, arch)) => Some(Pair { release: release.parse().ok()?, arch: arch.parse().ok()? }),
            None => None,
        };
        match (pair, run_id, log) {
            (None, None, false) => Some(Self::Package(package)),
            (Some(pair), None, false) => Some(Self::Runs(package, pair)),
            (Some(pair), Some(run_id), false) => Some(Self::Run(package, pair, run_id)),
            (Some(pair), Some(run_id), true) => Some(Self::Log(package, pair, run_id)),
            _ => None,
        }
    }
}

fn prefixed(prefix: &str, package: &str) -> Option<Package> {
    let package: Package = package.parse().ok()?;
    (package.prefix() == prefix).then_some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_the_folder() {
        let pair: Pair = "noble/amd64".parse().unwrap();
        let run: RunId = "20261121_053634_abcde@".parse().unwrap();
        let green: Package = "libgreen".parse().unwrap();
        for folder in ["", "libg/"] {
            let parse = |rest: &str| Address::parse(&format!("{folder}libgreen{rest}"));
            assert_eq!(parse(""), Some(Address::Package(green.clone())));
            assert_eq!(parse("/"), Some(Address::Package(green.clone())));
            assert_eq!(parse("/noble/amd64"), Some(Address::Runs(green.clone(), pair.clone())));
            assert_eq!(
                parse("/noble/amd64/20261121_053634_abcde@"),
                Some(Address::Run(green.clone(), pair.clone(), run.clone()))
            );
            assert_eq!(
                parse("/noble/amd64/20261121_053634_abcde@/log"),
                Some(Address::Log(green.clone(), pair.clone(), run.clone()))
            );
        }
    }

    #[test]
    fn what_means_nothing() {
        for path in [
            "",
            "/",
            "a/b",
            "a/b/c/d",
            "a/noble/amd64/x",
            "a/noble/amd64/log",
            "a/noble/amd64/log/log",
            "a b",
            "a/noble-x/amd64",
            "libgreen/l/noble/amd64",
            "l/libgreen",
            "a/noble",
            "..",
            "a/a/noble/amd64/1/2/3/4",
        ] {
            assert_eq!(Address::parse(path), None, "{path:?}");
        }
        assert_eq!(Address::parse("l/log"), Some(Address::Package("log".parse().unwrap())));
    }
}
