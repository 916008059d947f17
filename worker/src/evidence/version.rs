//! `testpkg-version`: source and version, separated by a blank, and whether that is what was asked for.

use std::path::Path;

use debversion::Version;
use proofhouse_core::params::Trigger;

use crate::files;

const MAX_BYTES: u64 = 1024;

/// The file's text, where it is one source and one version.
pub(crate) fn read(path: &Path) -> Option<String> {
    let bytes = files::read_regular(path, MAX_BYTES)?;
    let text = std::str::from_utf8(&bytes).ok()?;
    let (source, version) = text.trim_end().split_once(' ')?;
    // Their alphabets are those of a trigger.
    format!("{source}/{version}").parse::<Trigger>().ok()?;
    Some(format!("{source} {version}"))
}

/// The trigger that is a newer version of what was tested, by Debian's rules. A baseline's trigger is of no package.
pub(crate) fn newer_trigger<'a>(tested: &str, triggers: &'a [Trigger]) -> Option<&'a Trigger> {
    let (source, version) = tested.split_once(' ')?;
    let tested: Version = version.parse().ok()?;
    let newer = |trigger: &&Trigger| trigger.version.parse::<Version>().is_ok_and(|wanted| tested < wanted);
    triggers.iter().filter(|trigger| trigger.source.as_str() == source && !trigger.is_baseline()).find(newer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_that_is_newer_than_what_was_tested() {
        for (tested, triggers, newer) in [
            ("green 1.0-1", "green/1.0-2", true),
            ("green 1.0-2", "green/1.0-2", false),
            ("green 1.0-3", "green/1.0-2", false),
            ("green 1.0-10", "green/1.0-9", false),
            ("green 1.0~rc1-1", "green/1.0-1", true),
            ("green 1.0-1ubuntu1", "green/1.0-1", false),
            ("green 2.0-1", "green/1:1.0-1", true),
            ("green 1:1.0-1", "green/2.0-1", false),
            ("green 1.0", "green/1.0-0", false),
            ("green 1.0-1", "blue/2.0-1", false),
            ("green 1.0-1", "blue/2.0-1 green/1.0-2", true),
            ("green 1.0-1", "migration-reference/0", false),
            ("migration-reference -1", "migration-reference/0", false),
            ("green 1.0-1", "", false),
        ] {
            let triggers: Vec<Trigger> = triggers.split_whitespace().map(|t| t.parse().unwrap()).collect();
            assert_eq!(newer_trigger(tested, &triggers).is_some(), newer, "{tested} {triggers:?}");
        }
    }

    #[test]
    fn one_source_and_one_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("testpkg-version");
        assert_eq!(read(&path), None);
        for (text, expected) in [
            ("green 1:2.0~rc1-1\n", Some("green 1:2.0~rc1-1")),
            ("green 2", Some("green 2")),
            ("green", None),
            ("green ", None),
            ("", None),
            ("a b c", None),
            ("green 2\nblue 3\n", None),
            ("gr\u{fc}n 2", None),
            ("<b> 2", None),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path).as_deref(), expected, "{text:?}");
        }
        std::fs::write(&path, vec![b'a'; 1 << 20]).unwrap();
        assert_eq!(read(&path), None);
    }
}
