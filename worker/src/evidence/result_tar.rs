//! `result.tar`: a plain tar, members at the top without `./` (contract "Objects").

use std::{io, path::Path};

use crate::files;

/// The longest `testinfo.json`, in bytes.
pub(super) const MAX_TESTINFO: usize = 1 << 19;

/// Its members, those that exist, in this order, and how much of each is taken.
///
/// All of them travel in one message: a test must not be able to make it as large as it likes.
const MEMBERS: [(&str, u64); 7] = [
    ("exitcode", 1 << 10),
    ("testpkg-version", 1 << 10),
    ("duration", 1 << 10),
    ("testinfo.json", MAX_TESTINFO as u64),
    ("testbed-packages", 1 << 21),
    ("requester", 1 << 10),
    ("summary", 1 << 18),
];

/// True for a file of the output folder that is a member.
pub(crate) fn is_member(name: &Path) -> bool {
    MEMBERS.iter().any(|(member, _)| name == Path::new(member))
}

/// Packs the members.
pub(crate) fn pack(out: &Path) -> io::Result<Vec<u8>> {
    let read = |(name, limit)| Some((name, files::read_regular(&out.join(name), limit)?));
    let members: Vec<(&str, Vec<u8>)> = MEMBERS.into_iter().filter_map(read).collect();
    proofhouse_core::evidence::result_tar(&members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_dot_and_files_no_end() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("testbed-packages"), vec![b'x'; 5 << 20]).unwrap();
        std::fs::write(dir.path().join("exitcode"), "0\n").unwrap();
        let bytes = pack(dir.path()).unwrap();
        assert!(bytes.starts_with(b"exitcode\0"));
        assert!(bytes.len() < 3 << 20);
    }
}
