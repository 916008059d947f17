//! A Sources index: which version each package has. Read as it comes, and trusted in nothing.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use flate2::write::MultiGzDecoder;
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
            return Err(too_large());
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

/// An index while it is unpacked.
pub(super) struct Unpacked<V: Extend<(String, String)>> {
    form: Form<V>,
    /// What came, in bytes: a member of nothing can be followed by others without end.
    packed: u64,
}

enum Form<V: Extend<(String, String)>> {
    Gzip(Box<MultiGzDecoder<Sources<V>>>),
    Plain(Sources<V>),
}

impl<V: Default + Extend<(String, String)>> Unpacked<V> {
    pub(super) fn new(gzip: bool) -> Self {
        let sources = Sources::default();
        let form =
            if gzip { Form::Gzip(Box::new(MultiGzDecoder::new(sources))) } else { Form::Plain(sources) };
        Self { form, packed: 0 }
    }

    pub(super) fn write_all(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.packed += chunk.len() as u64;
        if self.packed > MOST_BYTES {
            return Err(too_large());
        }
        match &mut self.form {
            Form::Gzip(sources) => sources.write_all(chunk),
            Form::Plain(sources) => sources.write_all(chunk),
        }
    }

    pub(super) fn finish(self) -> io::Result<V> {
        match self.form {
            Form::Gzip(sources) => sources.finish()?.finish(),
            Form::Plain(sources) => sources.finish(),
        }
    }
}

fn too_large() -> io::Error {
    io::Error::other("the index is too large")
}

/// Packages and versions of an index that comes in these pieces.
pub fn packages<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    gzip: bool,
) -> io::Result<BTreeMap<String, String>> {
    let mut unpacked = Unpacked::new(gzip);
    pieces.into_iter().try_for_each(|piece| unpacked.write_all(piece))?;
    unpacked.finish()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn an_index_without_end_ends() {
        // A gzip member of nothing, again and again.
        let nothing = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0].repeat(1000);
        let mut unpacked = Unpacked::<BTreeMap<_, _>>::new(true);
        unpacked.write_all(&nothing).unwrap();
        unpacked.packed = MOST_BYTES;
        assert!(unpacked.write_all(&nothing).is_err());
        let long = vec![b'x'; 1 << 20];
        let mut sources = Sources::<BTreeMap<_, _>>::default();
        let written = (0..=MOST_BYTES >> 20).try_for_each(|_| sources.write_all(&long));
        assert!(written.is_err() && sources.line.len() <= LONGEST_LINE + 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..500), chunk in 1usize..50) {
            prop_assert_eq!(read(&bytes, chunk), read(&bytes, 500));
        }
    }
}
