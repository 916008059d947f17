//! What is wrong with a configuration: each mistake with its place and what is allowed.

use std::{fmt, path::PathBuf};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A command line option.
    Option,
    /// An environment variable.
    Environment,
    /// A line of the file.
    File {
        /// The file, as it was named.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
}

/// One mistake. No text of it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake(String);

impl Mistake {
    /// A mistake without a place: something is missing.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// A mistake at a place; `name` is the setting as that place calls it.
    pub fn at(place: &Place, name: &str, what: impl fmt::Display) -> Self {
        match place {
            Place::Option | Place::Environment => Self(format!("{name}: {what}")),
            Place::File { file, line } => Self(format!("{}:{line}: {name}: {what}", file.display())),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A configuration that cannot be used (exit status 2): everything that is wrong with it, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot be used:\n  {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
pub struct BadConfig(pub Vec<Mistake>);

/// The known name that a mistyped one is likely to stand for.
pub(super) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}
