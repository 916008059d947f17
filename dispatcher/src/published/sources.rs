//! A Sources index: which version each package has. Read as it comes, and trusted in nothing.

use std::io;

use proofhouse_core::params::Trigger;

/// More than any archive's index has, in bytes, unpacked.
const MOST_BYTES: u64 = 2 << 30;
/// More packages than any index has.
const MOST_PACKAGES: usize = 1_000_000;
/// Fields whose line is longer than this are none that are looked for.
const LONGEST_LINE: usize = 1024;

/// An index while it is read: text is written into it. In `V` packages and versions are collected.
#[derive(Default)]
pub(super) struct Sources<V> {
    line: Vec<u8>,
    package: Option<String>,
    version: Option<String>,
    bytes: u64,
    packages: usize,
    versions: V,
}

impl<V: Extend<(String, String)>> Sources<V> {
    /// The version of each package: the last one that the index names, where `V` is a map.
    pub(super) fn finish(mut self) -> io::Result<V> {
        self.end_line()?;
        self.end_stanza()?;
        Ok(self.versions)
    }

    fn end_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        if text.trim().is_empty() {
            self.end_stanza()?;
        } else if let Some((field, value)) = text.split_once(':').filter(|_| line.len() <= LONGEST_LINE) {
            let value = || Some(value.trim().to_owned());
            if field.eq_ignore_ascii_case("Package") {
                self.package = value();
            } else if field.eq_ignore_ascii_case("Version") {
                self.version = value();
            }
        }
        self.line = line;
        self.line.clear();
        Ok(())
    }

    fn end_stanza(&mut self) -> io::Result<()> {
        let (Some(package), Some(version)) = (self.package.take(), self.version.take()) else {
            return Ok(());
        };
        // Both are what a trigger is made of; anything else is left out.
        if format!("{package}/{version}").parse::<Trigger>().is_ok() {
            self.versions.extend([(package, version)]);
            self.packages += 1;
        }
        if self.packages > MOST_PACKAGES {
            return Err(io::Error::other("the index has too many packages"));
        }
        Ok(())
    }
}

impl<V: Extend<(String, String)>> io::Write for Sources<V> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.bytes += text.len() as u64;
        if self.bytes > MOST_BYTES {
            return Err(io::Error::other("the index is too large"));
        }
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            // One byte more than the limit tells that it was longer.
            let room = (LONGEST_LINE + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.end_line()?;
            }
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Write};

    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8], chunk: usize) -> BTreeMap<String, String> {
        let mut sources = Sources::<BTreeMap<_, _>>::default();
        text.chunks(chunk.max(1)).for_each(|part| sources.write_all(part).unwrap());
        sources.finish().unwrap()
    }

    #[test]
    fn versions_whatever_the_chunks() {
        let long = "x".repeat(100_000);
        let text = format!(
            "Package: green\nBinary: a,\n b\nVersion: 1:2.0-1~x\nPackage-List:\n Version: 9\nDescription: {long}\n\n\
             package: blue\nFormat: 1.0\nversion:  3 \nDirectory: x\n\nPackage: green\nVersion: 2.1\n \n\
             Package: bad name\nVersion: 1\n\nVersion: 7\n\nPackage: ../x\nVersion: 1\n\nPackage: no\n\nPackage: last\nVersion: 4"
        );
        let expected: BTreeMap<_, _> = [("blue", "3"), ("green", "2.1"), ("last", "4")]
            .map(|(p, v)| (p.to_owned(), v.to_owned()))
            .into();
        for chunk in [1, 7, 1024, usize::MAX] {
            assert_eq!(read(text.as_bytes(), chunk), expected, "{chunk}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..500), chunk in 1usize..50) {
            prop_assert_eq!(read(&bytes, chunk), read(&bytes, 500));
        }
    }
}
