//! How the value of a setting is read, from a text (option, environment) and from TOML.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use toml::de::DeValue;

use super::urls::{BusUrl, DatabaseUrl, SiteUrl, StoreUrl};
use crate::{
    lists,
    names::{Pair, WorkerName},
    params::SwiftUser,
};

/// A type that a setting can have. Errors are texts that say what is allowed; those of secrets never repeat the value.
pub(super) trait Value: Sized {
    /// What TOML must hold.
    const TOML: &'static str;

    /// Reads the text of an option or an environment variable.
    fn from_text(text: &str) -> Result<Self, String>;

    /// Reads a value of the file.
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::String(text) => Self::from_text(text),
            other => Err(wrong_type(Self::TOML, other)),
        }
    }
}

const TEXT: &str = "a text in quotes";

fn wrong_type(expected: &str, found: &DeValue<'_>) -> String {
    format!("must be {expected}, but this is of type {}", found.type_str())
}

/// Values that are read by their own `FromStr`, whose message says what is allowed.
macro_rules! texts {
    ($($type:ty),+) => {$(
        impl Value for $type {
            const TOML: &'static str = TEXT;
            fn from_text(text: &str) -> Result<Self, String> {
                text.parse().map_err(|e: <Self as FromStr>::Err| e.to_string())
            }
        }
    )+};
}
texts!(ProviderName, Template, WorkerName, SwiftUser, DatabaseUrl, BusUrl, StoreUrl, SiteUrl, lists::Source);

impl Value for SocketAddr {
    const TOML: &'static str = TEXT;
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("{text:?} is no address: an IP address and a port are, as in 127.0.0.1:8080 or [::]:8080")
        })
    }
}

impl Value for PathBuf {
    const TOML: &'static str = TEXT;
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("the path is empty".to_owned()) } else { Ok(text.into()) }
    }
}

impl Value for String {
    const TOML: &'static str = TEXT;
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("the text is empty".to_owned()) } else { Ok(text.to_owned()) }
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    /// The number.
    pub(super) const fn get(self) -> u32 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> Value for Whole<MIN, MAX> {
    const TOML: &'static str = "a whole number without quotes";

    fn from_text(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(format!("{text:?} is not allowed: a whole number from {MIN} to {MAX} is")),
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::Integer(number) if number.radix() == 10 => {
                Self::from_text(&number.as_str().replace('_', ""))
            }
            other => Err(wrong_type(Self::TOML, other)),
        }
    }
}

fn strings(expected: &str, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let DeValue::Array(items) = value else { return Err(wrong_type(expected, value)) };
    items
        .iter()
        .map(|item| match item.get_ref() {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            other => Err(wrong_type(expected, other)),
        })
        .collect()
}

/// A list of names: separated by commas in a text, an array in TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commas<T>(pub(super) Vec<T>);

impl<T: FromStr<Err: fmt::Display>> Value for Commas<T> {
    const TOML: &'static str = "a list of texts, as in [\"a\", \"b\"]";

    fn from_text(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| item.parse().map_err(|e: T::Err| e.to_string())).collect::<Result<_, _>>().map(Self)
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let items = strings(Self::TOML, value)?;
        items.iter().map(|i| i.parse().map_err(|e: T::Err| e.to_string())).collect::<Result<_, _>>().map(Self)
    }
}

/// A list of texts that may hold anything: one a line in a text, an array in TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines(pub(super) Vec<String>);

impl Value for Lines {
    const TOML: &'static str = "a list of texts, as in [\"a\", \"b\"]";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()))
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        strings(Self::TOML, value).map(Self)
    }
}

/// A text that never prints.
#[derive(Debug, Clone)]
pub(super) struct Secret(SecretString);

impl Secret {
    /// The text itself.
    pub(super) fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl Value for Secret {
    const TOML: &'static str = TEXT;
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("the secret is empty".to_owned()) } else { Ok(Self(text.into())) }
    }
}

/// A provider of testbeds that this version has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderName {
    /// Containers and machines of LXD.
    Lxd,
    /// A user namespace over an unpacked tarball.
    Unshare,
    /// The host itself.
    Null,
}

impl ProviderName {
    /// All of them, the strongest separation first.
    pub const ALL: [Self; 3] = [Self::Lxd, Self::Unshare, Self::Null];

    /// The name in settings, logs and pools.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lxd => "lxd",
            Self::Unshare => "unshare",
            Self::Null => "null",
        }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProviderName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or_else(|| match text {
            "openstack" | "ssh" | "qemu" | "schroot" => {
                format!("provider {text} does not come with this version; allowed: {allowed}")
            }
            _ => format!("{text:?} is no provider; allowed: {allowed}"),
        })
    }
}

/// The addresses of a network, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// True where an address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| {
            format!("{text:?} is no address: an IP address or a network is, as 192.0.2.7 or 2001:db8::/32")
        })
    }
}

/// A name with places to fill: `{release}`, `{arch}` and `{vm}` (`/vm` where a virtual machine is wanted, else nothing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name for a testbed.
    pub fn fill(&self, pair: &Pair, vm: bool) -> String {
        self.0
            .replace("{release}", pair.release.as_str())
            .replace("{arch}", pair.arch.as_str())
            .replace("{vm}", if vm { "/vm" } else { "" })
    }

    /// The path for a testbed.
    pub fn fill_path(&self, pair: &Pair) -> PathBuf {
        Path::new(&self.fill(pair, false)).to_owned()
    }
}

impl FromStr for Template {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let rest = ["{release}", "{arch}", "{vm}"].iter().fold(text.to_owned(), |t, p| t.replace(p, ""));
        if text.is_empty() || rest.contains(['{', '}']) {
            return Err(format!(
                "{text:?} is not allowed: a name is, with {{release}}, {{arch}}, {{vm}} in it"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_limits() {
        assert_eq!(Whole::<1, 9>::from_text("9").unwrap().get(), 9);
        for bad in ["", "0", "10", "-1", "1.5", "x", "99999999999"] {
            let error = Whole::<1, 9>::from_text(bad).unwrap_err();
            assert!(error.contains("from 1 to 9"), "{error}");
        }
    }

    #[test]
    fn lists() {
        let pairs = Commas::<Pair>::from_text("noble/amd64, noble/i386,").unwrap();
        assert_eq!(pairs.0.len(), 2);
        assert!(Commas::<Pair>::from_text("noble").unwrap_err().contains("release/arch"));
        assert_eq!(Lines::from_text("a, b\n\nc\n").unwrap().0, ["a, b", "c"]);
    }

    #[test]
    fn providers() {
        for provider in ProviderName::ALL {
            assert_eq!(provider.as_str().parse(), Ok(provider));
        }
        let later = "qemu".parse::<ProviderName>().unwrap_err();
        assert_eq!(later, "provider qemu does not come with this version; allowed: lxd, unshare, null");
        assert!("docker".parse::<ProviderName>().unwrap_err().starts_with("\"docker\" is no provider"));
    }

    #[test]
    fn templates() {
        let pair = "noble/arm64".parse().unwrap();
        let image: Template = "a/{release}/{arch}{vm}".parse().unwrap();
        assert_eq!(image.fill(&pair, false), "a/noble/arm64");
        assert_eq!(image.fill(&pair, true), "a/noble/arm64/vm");
        assert!("{relase}".parse::<Template>().is_err() && "".parse::<Template>().is_err());
    }

    #[test]
    fn networks() {
        let list = Commas::<Network>::from_text("192.0.2.7, 2001:db8::/32").unwrap().0;
        let contains = |address: &str| list.iter().any(|network| network.contains(address.parse().unwrap()));
        assert!(contains("192.0.2.7") && contains("2001:db8::1"));
        assert!(!contains("192.0.2.8") && !contains("2001:db9::1"));
        assert!("192.0.2.0/33".parse::<Network>().is_err() && "proxy".parse::<Network>().is_err());
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::from_text("s3cret").unwrap();
        assert!(!format!("{secret:?}").contains("s3cret"));
        assert_eq!(secret.reveal(), "s3cret");
    }
}
