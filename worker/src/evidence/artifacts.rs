//! `artifacts.tar.gz`: everything of the output folder that is stored nowhere else.

use std::{
    fs::{self, File, Metadata},
    io::{self, BufWriter, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use super::result_tar;
use crate::files;

/// A hostile folder may be as deep as names allow.
const MAX_DEPTH: usize = 64;

type Tar = Builder<GzEncoder<BufWriter<File>>>;

/// Packs the folder: files and folders as they are, links as links, nothing else, and nothing from outside.
pub(crate) fn pack(out: &Path, packed: &Path) -> io::Result<()> {
    let file = BufWriter::new(File::create(packed)?);
    let mut tar = Builder::new(GzEncoder::new(file, Compression::default()));
    append_folder(&mut tar, out, Path::new(""), 0)?;
    tar.into_inner()?.finish()?.into_inner()?;
    Ok(())
}

fn append_folder(tar: &mut Tar, folder: &Path, name: &Path, depth: usize) -> io::Result<()> {
    // A test can leave a folder that only its own user may read: an account of it is missing then, not the whole.
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    let mut entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let member = name.join(entry.file_name());
        if depth == 0 && (member == Path::new("log") || result_tar::is_member(&member)) {
            continue;
        }
        append(tar, &entry, &member, depth)?;
    }
    Ok(())
}

fn append(tar: &mut Tar, entry: &fs::DirEntry, member: &Path, depth: usize) -> io::Result<()> {
    let meta = entry.metadata()?;
    let kind = meta.file_type();
    if kind.is_symlink() {
        let mut header = header(&meta, EntryType::Symlink, 0);
        tar.append_link(&mut header, member, fs::read_link(entry.path())?)
    } else if kind.is_dir() && depth < MAX_DEPTH {
        tar.append_data(&mut header(&meta, EntryType::Directory, 0), member, io::empty())?;
        append_folder(tar, &entry.path(), member, depth + 1)
    } else if kind.is_file() {
        let Ok(file) = files::open_regular(&entry.path()) else {
            return Ok(());
        };
        let size = file.metadata()?.len();
        // The length stands before the bytes: should the file shrink meanwhile, the rest is filled up.
        let bytes = file.take(size).chain(io::repeat(0)).take(size);
        tar.append_data(&mut header(&meta, EntryType::Regular, size), member, bytes)
    } else {
        Ok(())
    }
}

fn header(meta: &Metadata, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(meta.permissions().mode() & 0o777);
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or_default());
    header
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn entries(packed: &Path) -> Vec<(String, EntryType, Option<String>)> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(packed).unwrap()));
        archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let text = |path: std::borrow::Cow<Path>| path.display().to_string();
                let link = entry.link_name().unwrap().map(text);
                (text(entry.path().unwrap()), entry.header().entry_type(), link)
            })
            .collect()
    }

    pub(crate) fn names(packed: &Path) -> Vec<String> {
        entries(packed).into_iter().map(|(name, ..)| name).collect()
    }

    #[test]
    fn links_stay_links_and_sockets_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        let (out, packed) = (dir.path().join("out"), dir.path().join("a.tar.gz"));
        fs::create_dir_all(out.join("artifacts/sub")).unwrap();
        for name in ["artifacts/a", "artifacts/sub/log", "log", "exitcode", "testinfo.json"] {
            fs::write(out.join(name), "x").unwrap();
        }
        symlink("/etc/shadow", out.join("artifacts/shadow")).unwrap();
        symlink("/etc", out.join("artifacts/etc")).unwrap();
        let _socket = UnixListener::bind(out.join("socket")).unwrap();
        nix::unistd::mkfifo(&out.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        pack(&out, &packed).unwrap();
        let link = |name: &str, to: &str| (name.to_owned(), EntryType::Symlink, Some(to.to_owned()));
        let plain = |name: &str, kind| (name.to_owned(), kind, None);
        assert_eq!(
            entries(&packed),
            [
                plain("artifacts", EntryType::Directory),
                plain("artifacts/a", EntryType::Regular),
                link("artifacts/etc", "/etc"),
                link("artifacts/shadow", "/etc/shadow"),
                plain("artifacts/sub", EntryType::Directory),
                plain("artifacts/sub/log", EntryType::Regular),
            ]
        );
    }

    #[test]
    fn an_empty_folder_is_an_empty_archive() {
        let dir = tempfile::tempdir().unwrap();
        let packed = dir.path().join("a.tar.gz");
        pack(&dir.path().join("missing"), &packed).unwrap();
        assert!(names(&packed).is_empty());
    }
}
