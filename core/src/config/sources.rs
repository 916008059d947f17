//! Reading the three sources of settings. What one of them gives is a [`Draft`]; mistakes are collected, not thrown.

use std::{collections::BTreeMap, path::Path};

use toml::de::{DeTable, DeValue};

use super::{
    declare::{Given, Options, PREFIX, SECTIONS, Setting},
    mistake::{Mistake, Place, closest},
    settings::{Draft, SETTINGS},
};

/// Variables of ours that are no settings.
const OTHER_VARIABLES: [&str; 1] = [crate::telemetry::FILTER_VARIABLE];

/// What is read, where each value came from, and what is wrong.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) draft: Draft,
    pub(super) places: BTreeMap<&'static str, Place>,
    pub(super) mistakes: Vec<Mistake>,
}

impl Reading {
    fn note(&mut self, setting: &Setting, place: Place, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => drop(self.places.insert(setting.field, place)),
            Err(what) => self.mistakes.push(Mistake::at(&place, name, what)),
        }
    }

    /// This one over `under`.
    pub(super) fn over(self, mut under: Self) -> Self {
        under.places.extend(self.places);
        let mistakes = [self.mistakes, under.mistakes].concat();
        Self { draft: self.draft.or(under.draft), places: under.places, mistakes }
    }

    /// Options, which clap has taken apart.
    pub(super) fn options(options: &Options) -> Self {
        let mut reading = Self::default();
        for setting in SETTINGS {
            if let Some(text) = options.0.get(setting.field) {
                let result = reading.draft.set_text(setting.field, &text.0);
                reading.note(setting, Place::Option, &format!("--{}", setting.option()), result);
            }
        }
        reading
    }

    /// Variables `PROOFHOUSE_…`; an empty one counts as not given. One that nobody knows is a mistake when it is close to
    /// one of ours, and else left alone: Kubernetes sets variables for services whose names may begin like that.
    pub(super) fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut reading = Self::default();
        let known: Vec<String> = SETTINGS.iter().map(|s| s.field.to_uppercase()).collect();
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if text.is_empty() || OTHER_VARIABLES.contains(&&*name) {
                continue;
            }
            if let Some(setting) = SETTINGS.iter().find(|s| s.variable() == name) {
                let result = reading.draft.set_text(setting.field, &text);
                reading.note(setting, Place::Environment, &name, result);
            } else if let Some(meant) = closest(rest, known.iter().map(String::as_str)) {
                let what = format!("is no setting; did you mean {PREFIX}{meant}?");
                reading.mistakes.push(Mistake::at(&Place::Environment, &name, what));
            }
        }
        reading
    }

    /// The file's text. `file` is only for messages.
    pub(super) fn file(file: &Path, text: &str) -> Self {
        let mut reading = Self::default();
        let at = |offset: usize| Place::File { file: file.to_owned(), line: line_of(text, offset) };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let offset = error.span().map_or(0, |s| s.start);
            reading.mistakes.push(Mistake::at(&at(offset), "not TOML", error.message()));
        }
        if errors.is_empty() {
            for (key, value) in entries(table.get_ref()) {
                reading.entry(&key, value.get_ref(), at(value.span().start));
            }
        }
        reading
    }

    fn entry(&mut self, key: &str, value: &DeValue<'_>, place: Place) {
        match SETTINGS.iter().find(|s| s.key() == key && s.given != Given::NotInFile) {
            Some(setting) => {
                let result = self.draft.set_toml(setting.field, value);
                self.note(setting, place, key, result);
            }
            None => self.mistakes.push(Mistake::at(&place, key, unknown(key))),
        }
    }
}

fn unknown(key: &str) -> String {
    let keys: Vec<String> =
        SETTINGS.iter().filter(|s| s.given != Given::NotInFile).map(Setting::key).collect();
    match closest(key, keys.iter().map(String::as_str)) {
        Some(meant) => format!("is no setting; did you mean {meant}?"),
        None => format!("is no setting; the settings are {}", keys.join(", ")),
    }
}

type Entry<'a> = (String, &'a toml::Spanned<DeValue<'a>>);

/// All values with their keys, those of sections as `section.key`.
fn entries<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for (key, value) in table {
        match value.get_ref() {
            DeValue::Table(section) if !section.is_empty() => {
                entries
                    .extend(section.iter().map(|(k, v)| (format!("{}.{}", key.get_ref(), k.get_ref()), v)));
            }
            DeValue::Table(_) if SECTIONS.contains(&key.get_ref().as_ref()) => {}
            _ => entries.push((key.get_ref().to_string(), value)),
        }
    }
    entries
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_mistakes(text: &str) -> Vec<String> {
        Reading::file(Path::new("p.toml"), text).mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_mistake_in_the_file_names_line_key_and_what_is_allowed() {
        for (text, mistake) in [
            ("\nslosts = 2", "p.toml:2: slosts: is no setting; did you mean slots?"),
            ("[lxd]\nimgae = \"x\"", "p.toml:2: lxd.imgae: is no setting; did you mean lxd.image?"),
            (
                "slots = \"2\"",
                "p.toml:1: slots: must be a whole number without quotes, but this is of type string",
            ),
            ("slots = 0", "p.toml:1: slots: \"0\" is not allowed: a whole number from 1 to 10000 is"),
            (
                "releases = \"noble\"",
                "p.toml:1: releases: must be a list of texts, as in [\"a\", \"b\"], but this is of type string",
            ),
            (
                "provider = \"qemu\"",
                "p.toml:1: provider: provider qemu does not come with this version; allowed: lxd, unshare, null",
            ),
            ("seal_key = 1234", "p.toml:1: seal_key: must be a text in quotes, but this is of type integer"),
        ] {
            assert_eq!(file_mistakes(text), [mistake], "{text}");
        }
        assert!(file_mistakes("config = \"x\"")[0].contains("is no setting"));
        assert!(file_mistakes("a = 1\nb =\n")[0].starts_with("p.toml:2: not TOML: "));
        assert_eq!(file_mistakes("slots = 0\nlease_seconds = 0\nx = 1").len(), 3, "all at once");
        assert!(file_mistakes("[lxd]\n").is_empty());
        assert!(file_mistakes("[openstack]\n")[0].contains("openstack: is no setting"));
        assert!(file_mistakes("[openstack]\nflavor = \"x\"")[0].contains("openstack.flavor: is no setting"));
    }

    #[test]
    fn a_mistake_never_repeats_a_secret() {
        for text in [
            "database = \"mysql://u:s3cret@h\"",
            "bus = \"amqp://u:s3cret@h/a/b\"",
            "bus = [\"amqp://u:s3cret@h\"]",
            "seal_key = [\"s3cret\"]",
            "seal_key = s3cret",
            "seal_key = \"s3cret",
            "store = \"swift://u:s3cret@h\"",
        ] {
            let mistakes = file_mistakes(text).join("\n");
            assert!(!mistakes.is_empty() && !mistakes.contains("s3cret"), "{mistakes}");
        }
    }

    #[test]
    fn variables() {
        let read = |name: &str, text: &str| {
            Reading::environment([(name.to_owned(), text.to_owned())])
                .mistakes
                .iter()
                .map(ToString::to_string)
                .collect::<String>()
        };
        for (name, text) in [
            ("PROOFHOUSE_SLOTS", "3"),
            ("PROOFHOUSE_SLOTS", ""),
            ("PROOFHOUSE_LOG", "debug"),
            ("PROOFHOUSE_LXD_IMAGE", "x"),
            ("PROOFHOUSE_SERVICE_HOST", "10.0.0.1"),
            ("PROOFHOUSE_PORT", "tcp://10.0.0.1:80"),
            ("PROOFHOUSE_WEB_PORT_8080_TCP", "tcp://10.0.0.1:80"),
            ("PROOFHOUSE_STORES_SERVICE_HOST", "10.0.0.1"),
            ("SLOTS", "x"),
        ] {
            assert_eq!(read(name, text), "", "{name}");
        }
        assert!(read("PROOFHOUSE_SLOTS", "x").starts_with("PROOFHOUSE_SLOTS: \"x\" is not allowed"));
        assert!(read("PROOFHOUSE_SLOT", "3").ends_with("did you mean PROOFHOUSE_SLOTS?"));
    }
}
