//! What other systems and archives say, read without them: the readers themselves, for `fuzz/`.

use proofhouse_core::index::FoundRun;

use crate::foreign;
pub use crate::published::{packages, release_digests};

/// The run that another system's completion message names.
pub fn completion(body: &[u8]) -> Option<FoundRun> {
    foreign::place(body)
}
