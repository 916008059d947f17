//! The parameters of a request, each a type that can only hold what the contracts allow.
//!
//! Patterns: contract "The site", heading "request.cgi".

use std::{fmt, str::FromStr, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::names::{BadName, Package, text_type, word};

fn matches(pattern: &'static LazyLock<Regex>, text: &str) -> bool {
    text.len() <= 4096 && pattern.is_match(text)
}

macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("a constant pattern"));
    };
}

pattern!(VERSION, r"^[a-zA-Z0-9.+:~-]+$");
pattern!(ENV, r"^[a-zA-Z][a-zA-Z0-9_]+=[a-zA-Z0-9.:~/ -=]*$");
pattern!(GIT, r"^https?://[a-zA-Z0-9._/~+-]+([# ][a-zA-Z0-9._/-]+)?$");
pattern!(
    PPA,
    r"^(?:([^:@/\s[:cntrl:]]+):([^:@/\s[:cntrl:]]+)@)?([a-z0-9][a-z0-9.+-]*)/([a-z0-9][a-z0-9.+-]*)(?::([0-9A-Fa-f]+))?$"
);

/// What made a test necessary: `src/version`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Trigger {
    /// The source package.
    pub source: Package,
    /// Its version, `[a-zA-Z0-9.+:~-]+`.
    pub version: String,
}

impl Trigger {
    /// True for `migration-reference/0`, which asks for a baseline.
    pub fn is_baseline(&self) -> bool {
        self.source.as_str() == "migration-reference" && self.version == "0"
    }
}

impl FromStr for Trigger {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadName::new("trigger", text, "source/version");
        let (source, version) = text.split_once('/').ok_or_else(bad)?;
        if !matches(&VERSION, version) {
            return Err(bad());
        }
        Ok(Self { source: source.parse().map_err(|_| bad())?, version: version.to_owned() })
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.version)
    }
}

text_type!(
    /// A variable for the test's environment: `NAME=value`.
    EnvVar, "environment variable", "[a-zA-Z][a-zA-Z0-9_]+=[a-zA-Z0-9.:~/ -=]*",
    |t| matches(&ENV, t)
);

text_type!(
    /// One test's name.
    TestName, "test name", "[a-zA-Z0-9][a-zA-Z0-9.+-]*",
    |t| t.len() <= 200 && word(t, ".+-")
);

/// A git repository, and a branch or ref of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitSource(String);

impl GitSource {
    /// `URL` or `URL#branch`, which is what autopkgtest takes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GitSource {
    type Err = BadName;
    /// Reads `URL`, `URL#branch` or `URL branch`; the last is written as the second.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !matches(&GIT, text) {
            return Err(BadName::new(
                "git source",
                text,
                "http(s)://…, then nothing, '#branch' or ' branch'",
            ));
        }
        Ok(Self(text.replacen(' ', "#", 1)))
    }
}

impl fmt::Display for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_type!(
    /// A bzr branch: a URL, or Launchpad's `lp:…`.
    BzrSource, "bzr source", "http(s)://… or lp:…",
    |t| {
        pattern!(BZR, r"^(?:https?://|lp:)[a-zA-Z0-9._/~+-]+$");
        matches(&BZR, t)
    }
);

/// Who may read a private container in the store: `user` or `account:user`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SwiftUser(String);

impl SwiftUser {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SwiftUser {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // It becomes an access rule: a comma, a blank or a leading dot would widen it.
        pattern!(USER, r"^[a-zA-Z0-9_][a-zA-Z0-9_.+:@-]*$");
        if text.len() <= 200 && USER.is_match(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName::new("swiftuser", text, "letters, digits and _ . + : @ -"))
        }
    }
}

text_type!(
    /// A person, a team or a client, as `requester` and `readable-by` name them.
    Person, "name of a user or team", "1 to 200 printable characters, no blank at either end",
    |t| !t.is_empty() && t.chars().count() <= 200 && t.trim() == t && !t.chars().any(char::is_control)
);

macro_rules! through_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )*};
}
through_text!(Trigger, GitSource, SwiftUser);

impl fmt::Display for SwiftUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The credentials of a private PPA, `user:token`: they print as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct PpaCredentials {
    pub(crate) user: String,
    pub(crate) token: String,
}

impl fmt::Debug for PpaCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PpaCredentials {
    /// `user:token`, for sealing and for autopkgtest.
    pub fn reveal(&self) -> String {
        format!("{}:{}", self.user, self.token)
    }

    /// The secret half, to be taken out of logs.
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// Both name the container, whose name Swift and a folder's file system limit to about 256 bytes, the release's among them.
const MAX_PPA_PART: usize = 80;

/// A PPA: `[user:token@]owner/name[:fingerprint]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ppa {
    /// Makes the run private.
    pub credentials: Option<PpaCredentials>,
    /// The owner on Launchpad.
    pub owner: String,
    /// The PPA's name.
    pub name: String,
    /// The fingerprint of its signing key.
    pub fingerprint: Option<String>,
}

impl Ppa {
    /// `owner/name`: what may be shown of it.
    pub fn public(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// `owner/name[:fingerprint]`: all but the credentials.
    pub fn without_credentials(&self) -> String {
        match &self.fingerprint {
            Some(fingerprint) => format!("{}/{}:{fingerprint}", self.owner, self.name),
            None => self.public(),
        }
    }

    /// The whole text with credentials, as autopkgtest takes it. Nowhere else.
    pub fn reveal(&self) -> String {
        match &self.credentials {
            Some(credentials) => format!("{}@{}", credentials.reveal(), self.without_credentials()),
            None => self.without_credentials(),
        }
    }
}

impl FromStr for Ppa {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = if text.len() <= 4096 { PPA.captures(text) } else { None };
        let Some(parts) = parts else {
            // The text may hold a token: an error never repeats it.
            let rule =
                "[user:token@]owner/name[:fingerprint], 4096 characters at most, with a sealed token, too";
            return Err(BadName::new("PPA", "…", rule));
        };
        let part = |n: usize| parts.get(n).map(|m| m.as_str().to_owned());
        let credentials = part(1).zip(part(2)).map(|(user, token)| PpaCredentials { user, token });
        let (Some(owner), Some(name)) = (part(3), part(4)) else {
            unreachable!("groups 3 and 4 always match")
        };
        if owner.len() > MAX_PPA_PART || name.len() > MAX_PPA_PART {
            return Err(BadName::new("PPA", "…", "owner and name have at most 80 characters each"));
        }
        Ok(Self { credentials, owner, name, fingerprint: part(5) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn triggers() {
        let trigger: Trigger = "green/1:2.0~rc1-1+b1".parse().unwrap();
        assert_eq!((trigger.source.as_str(), trigger.version.as_str()), ("green", "1:2.0~rc1-1+b1"));
        assert!("migration-reference/0".parse::<Trigger>().unwrap().is_baseline());
        for bad in
            ["", "green", "green/", "/1", "green/1 2", "green/1/2", "gre en/1", "green/1\n", "green/$(x)"]
        {
            assert!(bad.parse::<Trigger>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ppas() {
        let ppa: Ppa = "joe:s3cret@team/ppa:ABCDEF".parse().unwrap();
        assert_eq!(ppa.without_credentials(), "team/ppa:ABCDEF");
        assert_eq!(ppa.reveal(), "joe:s3cret@team/ppa:ABCDEF");
        assert!(!format!("{ppa:?}").contains("s3cret"));
        for bad in [
            "",
            "joe",
            "joe/",
            "/x",
            "Joe/x",
            "joe/x:zz",
            "a@joe/x",
            "a:@joe/x",
            "joe/x/y",
            "joe/foo bar",
            "../x",
        ] {
            assert!(bad.parse::<Ppa>().is_err(), "{bad:?}");
        }
        let error = "joe:s3cret@bad".parse::<Ppa>().unwrap_err().to_string();
        assert!(!error.contains("s3cret"));
    }

    #[test]
    fn the_longest_names_still_make_a_container() {
        use crate::layout::Container;
        let [longest, longer] = [80, 81].map(|n| "a".repeat(n));
        let ppa: Ppa = format!("{longest}/{longest}").parse().unwrap();
        let container = Container::of_run(&"r".repeat(64).parse().unwrap(), Some(&ppa), true);
        assert!(container.as_str().len() <= 255 && container.as_str().parse::<Container>().is_ok());
        for bad in [format!("{longer}/a"), format!("a/{longer}")] {
            assert!(bad.parse::<Ppa>().is_err());
        }
    }

    #[test]
    fn git_sources() {
        for (text, read) in [
            ("https://x.org/a.git", "https://x.org/a.git"),
            ("https://x.org/a.git#b/c", "https://x.org/a.git#b/c"),
            ("https://x.org/a.git b", "https://x.org/a.git#b"),
        ] {
            assert_eq!(text.parse::<GitSource>().unwrap().as_str(), read);
        }
        for bad in [
            "git://x",
            "https://",
            "https://x;y",
            "https://x#",
            "https://x a b",
            "-x",
            "https://x#a#b",
            "ext::sh -c x",
        ] {
            assert!(bad.parse::<GitSource>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_that_would_widen_an_access_rule() {
        for bad in ["", "*", ".r:*", "a,b", "a b", ",x", "a\n"] {
            assert!(bad.parse::<SwiftUser>().is_err(), "{bad:?}");
        }
        assert!("adt:reader".parse::<SwiftUser>().is_ok());
    }

    proptest! {
        #[test]
        fn any_text_parses_to_itself_or_is_refused(text in ".{0,80}") {
            if let Ok(trigger) = text.parse::<Trigger>() { prop_assert_eq!(trigger.to_string(), text.clone()); }
            if let Ok(ppa) = text.parse::<Ppa>() { prop_assert_eq!(ppa.reveal(), text.clone()); }
            if let Ok(env) = text.parse::<EnvVar>() { prop_assert_eq!(env.to_string(), text.clone()); }
            if let Ok(git) = text.parse::<GitSource>() { prop_assert_eq!(git.as_str().to_owned(), text.replacen(' ', "#", 1)); }
        }

        #[test]
        fn ppa_round_trips(user in "[a-z]{1,5}", token in "[A-Za-z0-9+=]{1,9}", owner in "[a-z0-9][a-z0-9.+-]{0,8}", name in "[a-z0-9][a-z0-9.+-]{0,8}") {
            let text = format!("{user}:{token}@{owner}/{name}");
            prop_assert_eq!(text.parse::<Ppa>().unwrap().reveal(), text);
        }
    }
}
