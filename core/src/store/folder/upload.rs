//! Storing a file whole or not at all: written beside the containers, forced to disk, renamed to its place.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    time::{Duration, SystemTime},
};

use tempfile::NamedTempFile;

use super::{Body, Inner, StoreError, file_in_the_way, io_error, object_path, shown};
use crate::layout::Container;

/// Where uploads are written. It lies in the same file system, so that a rename is enough, and is never listed.
const UPLOADS: &str = ".uploads";

/// An upload that nobody wrote to for so long was left behind by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

impl Inner {
    pub(super) fn put(&self, container: &Container, object: &str, body: &Body) -> Result<(), StoreError> {
        let root = self.container(container)?;
        let path = object_path(&root, container, object)?;
        let failed = io_error(&self.place(container));
        let mut file = self.temporary().map_err(&failed)?;
        match body {
            Body::Bytes(bytes) => io::Write::write_all(&mut file, bytes).map_err(&failed)?,
            Body::File(source) => {
                let mut source_file = File::open(source).map_err(io_error(source))?;
                io::copy(&mut source_file, &mut file).map_err(&failed)?;
            }
        }
        match place(file, &root, &path) {
            Err(e) if file_in_the_way(&e) => Err(StoreError::BadName(shown(container, object))),
            done => done.map_err(failed),
        }
    }

    /// A new file that goes away by itself unless it gets a name.
    pub(super) fn temporary(&self) -> io::Result<NamedTempFile> {
        let uploads = self.dir.join(UPLOADS);
        fs::create_dir_all(&self.dir)?;
        // What is being stored may be private.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&uploads)?;
        sweep(&uploads, SystemTime::now());
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(&uploads)
    }
}

/// Gives a file its name below the container's folder. Where a deletion takes a folder away again that is still empty,
/// it starts over.
fn place(mut file: NamedTempFile, root: &Path, path: &Path) -> io::Result<()> {
    const TRIES: usize = 10;
    file.as_file().sync_all()?;
    for _ in 0..TRIES {
        match make_folders(root, path) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            made => made?,
        }
        match file.persist(path) {
            Err(e) if e.error.kind() == ErrorKind::NotFound => file = e.file,
            placed => {
                placed?;
                return sync_parent(path);
            }
        }
    }
    Err(ErrorKind::NotFound.into())
}

/// The folders between the container's and the file, one by one: a link among them is not followed.
fn make_folders(root: &Path, path: &Path) -> io::Result<()> {
    let between = path.parent().and_then(|parent| parent.strip_prefix(root).ok()).unwrap_or(Path::new(""));
    let mut folder = root.to_path_buf();
    for segment in between {
        let made = fs::create_dir(folder.join(segment));
        match made {
            Ok(()) => sync_dir(&folder)?,
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            Err(_) if fs::symlink_metadata(folder.join(segment))?.is_dir() => {}
            Err(_) => return Err(ErrorKind::NotADirectory.into()),
        }
        folder.push(segment);
    }
    Ok(())
}

/// Gives a file its name in a folder that exists.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_parent(path)
}

/// A new name is on disk only when its folder is. A folder that is gone says that the file was deleted since.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent().map_or(Ok(()), sync_dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Forces a folder's names to disk.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes abandoned uploads. What fails here is tried again with the next upload.
fn sweep(uploads: &Path, now: SystemTime) {
    let abandoned = |entry: &fs::DirEntry| {
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        written.is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age > ABANDONED))
    };
    for entry in fs::read_dir(uploads).into_iter().flatten().flatten().filter(abandoned) {
        let _ = fs::remove_file(entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_abandoned_uploads_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("upload");
        fs::write(&path, "x").unwrap();
        sweep(dir.path(), SystemTime::now());
        assert!(path.exists());
        sweep(dir.path(), SystemTime::now() + 2 * ABANDONED);
        assert!(!path.exists());
    }
}
