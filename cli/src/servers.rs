//! The settings that an operator's command takes: where the servers are, or where the rules are. The other settings'
//! places are the roles' helps.

use std::marker::PhantomData;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use proofhouse_core::config::{BadConfig, Config, Options, Role};

/// Where the servers are.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfServers;

/// Where the servers and the archive are.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfArchive;

/// Where the servers are, and by which rules jobs find their pools: what explains why one waits needs those of the
/// dispatcher.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfPools;

/// Where the rules of the log are.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfRules;

/// The settings that are taken.
pub(crate) trait Taken: Clone + Default {
    const FIELDS: &[&str];
}

impl Taken for OfServers {
    const FIELDS: &[&str] = &[
        "config",
        "data",
        "database",
        "database_password_file",
        "bus",
        "bus_password_file",
        "store",
        "ca_file",
        "seal_key_file",
    ];
}

impl Taken for OfArchive {
    const FIELDS: &[&str] = &[
        "config",
        "data",
        "database",
        "database_password_file",
        "bus",
        "bus_password_file",
        "store",
        "ca_file",
        "seal_key_file",
        "archive",
        "archive_components",
    ];
}

impl Taken for OfPools {
    const FIELDS: &[&str] = &[
        "config",
        "data",
        "database",
        "database_password_file",
        "bus",
        "bus_password_file",
        "store",
        "ca_file",
        "seal_key_file",
        "pool_rules",
    ];
}

impl Taken for OfRules {
    const FIELDS: &[&str] = &["config", "rules"];
}

/// Where the servers are, as options.
pub(crate) type Servers = Part<OfServers>;

/// Some of the settings, as options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Part<T>(Options, PhantomData<T>);

impl<T: Taken> Part<T> {
    /// The configuration that an operator's command works with.
    pub(crate) fn config(&self) -> Result<Config, BadConfig> {
        Config::load_here(Role::Operator, &self.0)
    }
}

impl<T: Taken> Args for Part<T> {
    fn augment_args(command: Command) -> Command {
        let all = Options::augment_args(Command::new(""));
        command.args(all.get_arguments().filter(|arg| T::FIELDS.contains(&arg.get_id().as_str())))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: Taken> FromArgMatches for Part<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Options::from_arg_matches(matches).map(|options| Self(options, PhantomData))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

#[cfg(test)]
mod tests {
    use proofhouse_core::config::SETTINGS;

    use super::*;

    #[test]
    fn every_setting_that_is_taken_exists() {
        fn exist<T: Taken>() {
            let command = Part::<T>::augment_args(Command::new("x"));
            assert_eq!(command.get_arguments().count(), T::FIELDS.len());
            assert!(T::FIELDS.iter().all(|field| SETTINGS.iter().any(|s| s.field == *field)));
        }
        exist::<OfServers>();
        exist::<OfArchive>();
        exist::<OfPools>();
        exist::<OfRules>();
    }
}
