//! Files whose names somebody else chose: what a test left in the output folder is read without following any link.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::fcntl::OFlag;

/// Opens a regular file; a link, a pipe or a device in its place is an error of kind `InvalidInput`.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// The first `limit` bytes of a regular file; none where there is no such file.
pub(crate) fn read_regular(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Writes a file that was not there before: whatever has its name is removed, not followed.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::IsADirectory || path.is_dir() => fs::remove_dir_all(path)?,
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(bytes)
}

/// A text of one line for each item.
pub(crate) fn lines<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().fold(String::new(), |text, item| text + &item.to_string() + "\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_pipes_and_folders_are_no_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        symlink("/etc/passwd", path("link")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["link", "folder", "pipe", "missing"] {
            assert_eq!(read_regular(&path(name), 10), None, "{name}");
        }
        fs::write(path("file"), "0123456789abc").unwrap();
        assert_eq!(read_regular(&path("file"), 10).unwrap(), b"0123456789");
    }

    #[test]
    fn writing_replaces_a_link_and_leaves_its_target() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "old").unwrap();
        symlink(&target, &link).unwrap();
        write_new(&link, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read(&link).unwrap(), b"new");
        fs::create_dir(dir.path().join("folder")).unwrap();
        write_new(&dir.path().join("folder"), b"new", 0o600).unwrap();
    }
}
