//! One list: lines `pkg[/arch[/release]]`, each part a name, a glob or `all`; missing parts mean all.

use std::collections::HashMap;

use globset::{GlobBuilder, GlobMatcher};

use crate::names::{Package, Pair};

/// A list. Asking it costs what the globs cost, however many plain names it has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct List {
    plain: HashMap<String, Vec<Place>>,
    globs: Vec<(Part, Place)>,
}

/// Arch and release.
#[derive(Debug, Clone, PartialEq)]
struct Place(Part, Part);

#[derive(Debug, Clone)]
enum Part {
    All,
    Name(String),
    Glob(GlobMatcher),
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => true,
            (Self::Name(one), Self::Name(other)) => one == other,
            (Self::Glob(one), Self::Glob(other)) => one.glob() == other.glob(),
            _ => false,
        }
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".+-_*?[]!".contains(c);
        if text.is_empty() || !text.chars().all(allowed) {
            return Err(format!("{text:?} is no name or glob; a line is pkg[/arch[/release]]"));
        }
        if text == "all" || text == "*" {
            return Ok(Self::All);
        }
        if !text.contains(['*', '?', '[']) {
            return Ok(Self::Name(text.to_owned()));
        }
        let glob =
            GlobBuilder::new(text).build().map_err(|e| format!("{text:?} is no glob: {}", e.kind()))?;
        Ok(Self::Glob(glob.compile_matcher()))
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => name == text,
            Self::Glob(glob) => glob.is_match(text),
        }
    }
}

impl Place {
    fn matches(&self, pair: &Pair) -> bool {
        self.0.matches(pair.arch.as_str()) && self.1.matches(pair.release.as_str())
    }
}

impl List {
    /// The list, and the lines that were skipped with what is wrong with them.
    pub(super) fn parse(text: &str) -> (Self, Vec<(usize, String)>) {
        let (mut list, mut bad) = (Self::default(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            match parse_line(line) {
                Ok((Part::Name(name), place)) => list.plain.entry(name).or_default().push(place),
                Ok(glob) => list.globs.push(glob),
                Err(what) => bad.push((number + 1, what)),
            }
        }
        (list, bad)
    }

    pub(super) fn names(&self, package: &Package, pair: &Pair) -> bool {
        let plain = self.plain.get(package.as_str());
        plain.is_some_and(|places| places.iter().any(|place| place.matches(pair)))
            || self.globs.iter().any(|(name, place)| name.matches(package.as_str()) && place.matches(pair))
    }
}

fn parse_line(line: &str) -> Result<(Part, Place), String> {
    let parts = line.split('/').map(Part::parse).collect::<Result<Vec<_>, _>>()?;
    let mut parts = parts.into_iter();
    let mut next = || parts.next().unwrap_or(Part::All);
    let rule = (next(), Place(next(), next()));
    if parts.next().is_some() {
        return Err("has more than three parts; a line is pkg[/arch[/release]]".to_owned());
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (line, package, pair, named) in [
            ("green", "green", "noble/amd64", true),
            ("green", "greener", "noble/amd64", false),
            ("  green  # why", "green", "noble/amd64", true),
            ("# green", "green", "noble/amd64", false),
            ("green/armhf", "green", "noble/armhf", true),
            ("green/armhf", "green", "noble/amd64", false),
            ("green/armhf/jammy", "green", "jammy/armhf", true),
            ("green/armhf/jammy", "green", "noble/armhf", false),
            ("green/all/jammy", "green", "jammy/s390x", true),
            ("green/*/jammy", "green", "noble/s390x", false),
            ("green/all/all", "green", "noble/amd64", true),
            ("all/riscv64", "anything", "noble/riscv64", true),
            ("linux*", "linux-meta", "noble/amd64", true),
            ("linux*", "Linux-meta", "noble/amd64", false),
            ("linux-*/arm*", "linux-meta", "noble/arm64", true),
            ("linux-*/arm*", "linux-meta", "noble/amd64", false),
            ("g?een", "green", "noble/amd64", true),
            ("gree[mn]", "green", "noble/amd64", true),
            ("gree[!mn]", "green", "noble/amd64", false),
            ("libc++*", "libc++abi", "noble/amd64", true),
            ("*-dkms/*/n*", "zfs-dkms", "noble/amd64", true),
        ] {
            let (list, bad) = List::parse(line);
            assert_eq!(bad, [], "{line}");
            let (package, pair) = (package.parse().unwrap(), pair.parse().unwrap());
            assert_eq!(list.names(&package, &pair), named, "{line}: {package} {pair}");
        }
    }

    #[test]
    fn bad_lines_are_skipped() {
        let (list, bad) = List::parse("a b\n\ngreen\nx/y/z/w\nx//noble\n/x\ngree[n\nx{a,b}\n");
        assert_eq!(bad.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 4, 5, 6, 7, 8]);
        assert!(list.names(&"green".parse().unwrap(), &"noble/amd64".parse().unwrap()));
    }
}
