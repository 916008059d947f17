//! Which path an object has, and what an error on the way there means.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{StoreError, check_name, shown};
use crate::layout::Container;

/// The longest file name of the usual file systems, in bytes.
const MAX_FILE_NAME: usize = 255;

/// The path of `object` below the container's folder. Hidden names are refused: they are never listed either.
pub(super) fn object_path(root: &Path, container: &Container, object: &str) -> Result<PathBuf, StoreError> {
    check_name(container, object)?;
    if object.split('/').all(is_visible) {
        Ok(root.join(object))
    } else {
        Err(StoreError::BadName(shown(container, object)))
    }
}

/// True for a plain file or folder name that may be listed.
pub(super) fn is_visible(segment: &str) -> bool {
    !segment.is_empty()
        && !segment.starts_with('.')
        && !segment.contains('\0')
        && segment.len() <= MAX_FILE_NAME
}

/// True where an error says that there is no such file.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename)
}

/// True where a name cannot be stored because a file has the name of a folder, or the other way round.
pub(super) fn file_in_the_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::AlreadyExists
            | ErrorKind::DirectoryNotEmpty
    )
}
