//! What an archive answers: Sources indexes, packed or not, and Release files.

use proofhouse_core::params::Trigger;
use proofhouse_dispatcher::untrusted::{packages, release_digests};

use crate::{choice, gzip};

/// An index gives packages and versions that a trigger can have, whatever the pieces in which it comes.
pub(crate) fn archive(data: &[u8]) {
    let (how, data) = choice(data);
    let (index, is_gzip) = match how % 3 {
        0 => (gzip(data), true),
        1 => (data.to_owned(), true),
        _ => (data.to_owned(), false),
    };
    let whole = packages([&index[..]], is_gzip);
    let pieces = packages(index.chunks(usize::from(how).max(1)), is_gzip);
    assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok());
    for (package, version) in whole.iter().flatten() {
        assert!(format!("{package}/{version}").parse::<Trigger>().is_ok());
    }
    let text = String::from_utf8_lossy(data);
    assert!(release_digests(&text).is_none_or(|digests| digests <= text.lines().count()));
}
