//! The settings that an operator's command takes: where the servers are. The other settings' places are the roles' helps.

use clap::{ArgMatches, Args, Command, FromArgMatches};
use proofhouse_core::config::{BadConfig, Config, Options, Role};

const TAKEN: [&str; 9] = [
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

/// Where the servers are, as options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Servers(Options);

impl Servers {
    /// The configuration that an operator's command works with.
    pub(crate) fn config(&self) -> Result<Config, BadConfig> {
        Config::load_here(Role::Operator, &self.0)
    }
}

impl Args for Servers {
    fn augment_args(command: Command) -> Command {
        let all = Options::augment_args(Command::new(""));
        command.args(all.get_arguments().filter(|arg| TAKEN.contains(&arg.get_id().as_str())))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Servers {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Options::from_arg_matches(matches).map(Self)
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
        let command = Servers::augment_args(Command::new("x"));
        assert_eq!(command.get_arguments().count(), TAKEN.len());
        assert!(TAKEN.iter().all(|field| SETTINGS.iter().any(|s| s.field == *field)));
    }
}
