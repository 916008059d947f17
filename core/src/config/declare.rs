//! What a setting is, and the macro that makes of one declaration its key, variable, option, default and help.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueHint};

use super::settings::SETTINGS;

/// Where a setting may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// As an option, in the environment and in the file.
    Anywhere,
    /// As an option and in the environment: it says where the file is.
    NotInFile,
    /// In the environment and in the file: a secret is no argument, which everyone on the machine can read.
    NotAsOption,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The field's name; [`Setting::key`] is how the file calls it.
    pub field: &'static str,
    /// The heading that it stands under in help and reference.
    pub group: &'static str,
    /// What stands for its value in help.
    pub value: &'static str,
    /// The value where none is given, as a text.
    pub default: Option<&'static str>,
    /// What it is for.
    pub help: &'static str,
    /// Where it may be given.
    pub given: Given,
}

/// What our environment variables begin with.
pub(super) const PREFIX: &str = "PROOFHOUSE_";

/// The file's sections: the settings of a provider.
pub(super) const SECTIONS: [&str; 3] = ["lxd", "unshare", "null"];

impl Setting {
    /// The key in the file; with a dot for what stands in a section.
    pub fn key(&self) -> String {
        let section =
            SECTIONS.iter().find(|s| self.field.strip_prefix(**s).is_some_and(|r| r.starts_with('_')));
        if section.is_some() { self.field.replacen('_', ".", 1) } else { self.field.to_owned() }
    }

    /// The environment variable.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.field.to_uppercase())
    }

    /// The option, without its dashes.
    pub fn option(&self) -> String {
        self.field.replace('_', "-")
    }

    fn help(&self) -> String {
        let default = self.default.filter(|d| !d.is_empty());
        let default = default.map_or_else(String::new, |d| format!(" [default: {}]", d.replace('\n', " ")));
        format!("{}{default} [env: {}]", self.help.trim(), self.variable())
    }
}

/// The settings that were given as options. `#[command(flatten)]` puts them into a subcommand.
///
/// Texts, not values: all sources are read by the same code, and an error never repeats what may hold a password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(pub(super) BTreeMap<&'static str, Hidden>);

/// A text that may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hidden(pub(super) String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

fn options() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|s| s.given != Given::NotAsOption)
}

fn arg(setting: &Setting) -> Arg {
    let hint = match setting.value {
        "FILE" => ValueHint::FilePath,
        "DIR" => ValueHint::DirPath,
        _ => ValueHint::Unknown,
    };
    Arg::new(setting.field)
        .long(setting.option())
        .value_name(setting.value)
        .value_hint(hint)
        .help(setting.help())
        .help_heading(setting.group)
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        options().fold(command, |command, setting| command.arg(arg(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in options() {
            if let Ok(Some(text)) = matches.try_get_one::<String>(setting.field) {
                self.0.insert(setting.field, Hidden(text.clone()));
            }
        }
        Ok(())
    }
}

macro_rules! settled_type {
    ($type:ty) => { Option<$type> };
    ($type:ty, $default:literal) => { $type };
}

macro_rules! settled {
    ($given:expr, $type:ty) => {
        $given
    };
    ($given:expr, $type:ty, $default:literal) => {
        $given.unwrap_or_else(|| <$type>::from_text($default).expect("a constant default"))
    };
}

macro_rules! default_text {
    () => {
        None
    };
    ($default:literal) => {
        Some($default)
    };
}

/// Declares settings: `/// help`, then `field: Type, Given "VALUE" [, default "text"];` under a group's heading.
macro_rules! settings {
    ($($group:literal {$(
        $(#[doc = $help:literal])+
        $field:ident: $type:ty, $given:ident $value:literal $(, default $default:literal)?;
    )+})+) => {
        /// Every setting, in the order of the reference.
        pub const SETTINGS: &[Setting] = &[$($(Setting {
            field: stringify!($field),
            group: $group,
            value: $value,
            default: default_text!($($default)?),
            help: concat!($($help),+),
            given: Given::$given,
        },)+)+];

        /// What one source, or several, give.
        #[derive(Debug, Default)]
        pub(super) struct Draft {
            $($(pub(super) $field: Option<$type>,)+)+
        }

        impl Draft {
            /// Reads the text of an option or a variable. `field` is one of [`SETTINGS`].
            pub(super) fn set_text(&mut self, field: &str, text: &str) -> Result<(), String> {
                match field {
                    $($(stringify!($field) => self.$field = Some(<$type>::from_text(text)?),)+)+
                    _ => return Err("is no setting".to_owned()),
                }
                Ok(())
            }

            /// Reads a value of the file. `field` is one of [`SETTINGS`].
            pub(super) fn set_toml(&mut self, field: &str, value: &DeValue<'_>) -> Result<(), String> {
                match field {
                    $($(stringify!($field) => self.$field = Some(<$type>::from_toml(value)?),)+)+
                    _ => return Err("is no setting".to_owned()),
                }
                Ok(())
            }

            /// What this gives, and what it leaves open from `under`.
            pub(super) fn or(self, under: Self) -> Self {
                Self { $($($field: self.$field.or(under.$field),)+)+ }
            }

            /// With the defaults.
            pub(super) fn settle(self) -> Settings {
                Settings { $($($field: settled!(self.$field, $type $(, $default)?),)+)+ }
            }
        }

        /// The values of all settings.
        #[derive(Debug)]
        pub(super) struct Settings {
            $($(pub(super) $field: settled_type!($type $(, $default)?),)+)+
        }
    };
}
pub(super) use {default_text, settings, settled, settled_type};
