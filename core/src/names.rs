//! The names that everything else is built of: packages, releases, architectures, contexts, queues.
//!
//! Facts: contracts of the old systems ("Queues"): a queue's name carries release and arch, so neither holds a `-`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::redact;

/// A text that is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct BadName {
    /// What kind of name was expected.
    pub what: &'static str,
    /// The text as it came, without what may be credentials, cut to 80 characters.
    pub value: String,
    /// What is allowed.
    pub rule: &'static str,
}

impl BadName {
    /// An error for `value`, without what may be credentials, cut so that a hostile text cannot fill a log.
    pub fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
        Self { what, value: redact::value(value).chars().take(80).collect(), rule }
    }
}

/// Declares a text type that can only hold a valid value.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = $crate::names::BadName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err($crate::names::BadName::new($what, text, $rule)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::names::BadName;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(crate) use text_type;

/// ASCII letters, digits and the characters of `more`, beginning with a letter or digit.
pub(crate) fn word(text: &str, more: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

text_type!(
    /// A source package's name as queues carry it: `[a-zA-Z0-9][a-zA-Z0-9.+-]*`, no `..`, at most 200 characters.
    Package, "package name", "letters, digits, '.', '+', '-'; it begins with a letter or digit and holds no '..'",
    |t| t.len() <= 200 && word(t, ".+-") && !t.contains("..")
);

impl Package {
    /// True for what a person may submit (Debian policy): `[a-z0-9][a-z0-9.+-]+`.
    pub fn follows_policy(&self) -> bool {
        self.0.len() > 1 && !self.0.contains(|c: char| c.is_ascii_uppercase())
    }

    /// The folder of the package in the archive and in the store: the first letter, or four of a name that begins with `lib`.
    pub fn prefix(&self) -> &str {
        if self.0.starts_with("lib") { &self.0[..self.0.len().min(4)] } else { &self.0[..1] }
    }
}

text_type!(
    /// A release's name (`noble`, `bookworm`): letters, digits, `.`, `_`; no `-`, which separates the fields of a queue's name.
    Release, "release", "letters, digits, '.', '_'; no '-'",
    |t| t.len() <= 64 && word(t, "._") && !t.contains("..")
);

text_type!(
    /// An architecture's name (`amd64`): letters, digits, `_`; no `-`.
    Arch, "architecture", "letters, digits, '_'; no '-'",
    |t| t.len() <= 64 && word(t, "_")
);

text_type!(
    /// A component of an archive (`main`, `universe`).
    Component, "archive component", "letters, digits, '.', '+', '-', '_'",
    |t| t.len() <= 64 && word(t, "._+-") && !t.contains("..")
);

text_type!(
    /// The name of a pool of workers: it becomes part of a queue's name.
    Pool, "pool", "letters, digits, '.', '_', '-'",
    |t| t.len() <= 150 && word(t, "._-")
);

text_type!(
    /// A worker's name, stable over restarts: host name, or host name and a number.
    WorkerName, "worker name", "letters, digits, '.', '_', '-'",
    |t| t.len() <= 100 && word(t, "._-")
);

/// Which of the four queues of a release and arch a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// The plain queue, called `ubuntu` in JSON.
    Ubuntu,
    /// Bulk: what one upload with very many tests asks for.
    Huge,
    /// Tests with packages from PPAs.
    Ppa,
    /// Tests of an upstream project's branches.
    Upstream,
}

impl Context {
    /// All four, in the order in which pages and files list them.
    pub const ALL: [Self; 4] = [Self::Ubuntu, Self::Huge, Self::Ppa, Self::Upstream];

    /// The name in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ubuntu => "ubuntu",
            Self::Huge => "huge",
            Self::Ppa => "ppa",
            Self::Upstream => "upstream",
        }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Context {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|c| c.as_str() == text)
            .ok_or_else(|| BadName::new("context", text, "ubuntu, huge, ppa or upstream"))
    }
}

/// A release and an architecture: what a request's queue says, and all it says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pair {
    /// The release.
    pub release: Release,
    /// The architecture.
    pub arch: Arch,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.release, self.arch)
    }
}

impl FromStr for Pair {
    type Err = BadName;
    /// Reads `release/arch`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (release, arch) =
            text.split_once('/').ok_or_else(|| BadName::new("release and arch", text, "release/arch"))?;
        Ok(Self { release: release.parse()?, arch: arch.parse()? })
    }
}

/// A request queue: `debci-{release}-{arch}` or `debci-{context}-{release}-{arch}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestQueue {
    /// The context: which of the pair's four queues.
    pub context: Context,
    /// Release and arch.
    pub pair: Pair,
}

impl RequestQueue {
    /// The four queues of a pair.
    pub fn of(pair: &Pair) -> [Self; 4] {
        Context::ALL.map(|context| Self { context, pair: pair.clone() })
    }
}

impl fmt::Display for RequestQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pair { release, arch } = &self.pair;
        match self.context {
            Context::Ubuntu => write!(f, "debci-{release}-{arch}"),
            context => write!(f, "debci-{context}-{release}-{arch}"),
        }
    }
}

impl FromStr for RequestQueue {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad =
            || BadName::new("queue", text, "debci-RELEASE-ARCH or debci-{huge,ppa,upstream}-RELEASE-ARCH");
        let fields: Vec<&str> = text.split('-').collect();
        let (context, release, arch) = match fields[..] {
            ["debci", release, arch] => (Context::Ubuntu, release, arch),
            ["debci", context, release, arch] => (context.parse()?, release, arch),
            _ => return Err(bad()),
        };
        if fields.len() == 4 && context == Context::Ubuntu {
            return Err(bad());
        }
        Ok(Self { context, pair: Pair { release: release.parse()?, arch: arch.parse()? } })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn package_prefix() {
        for (package, prefix) in
            [("hello", "h"), ("libzstd", "libz"), ("lib", "lib"), ("libreoffice", "libr"), ("0ad", "0")]
        {
            assert_eq!(package.parse::<Package>().unwrap().prefix(), prefix);
        }
    }

    #[test]
    fn bad_packages() {
        for text in ["", "-a", "a..b", "a/b", "a b", "ä", ".a", "a\n", "a_b", &"a".repeat(201)] {
            assert!(text.parse::<Package>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn bad_queues() {
        for text in [
            "",
            "debci",
            "debci-noble",
            "debci-a-b-c",
            "debci-ubuntu-noble-amd64",
            "debci-ppa-noble-amd64-x",
            "x-noble-amd64",
            "debci--amd64",
            "debci-noble-",
        ] {
            assert!(text.parse::<RequestQueue>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn queue_names_round_trip(release in "[a-z][a-z0-9._]{0,12}[a-z]", arch in "[a-z][a-z0-9]{0,10}", n in 0usize..4) {
            let queue = RequestQueue { context: Context::ALL[n], pair: Pair { release: release.replace("..", ".x").parse().unwrap(), arch: arch.parse().unwrap() } };
            prop_assert_eq!(queue.to_string().parse::<RequestQueue>().unwrap(), queue);
        }

        #[test]
        fn any_text_parses_or_is_refused(text in ".{0,64}") {
            if let Ok(package) = text.parse::<Package>() {
                prop_assert_eq!(package.as_str(), &text);
                prop_assert!(text.starts_with(package.prefix()));
            }
            let _ = text.parse::<RequestQueue>();
        }
    }
}
