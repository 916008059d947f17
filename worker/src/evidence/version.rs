//! `testpkg-version`: source and version, separated by a blank.

use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

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
