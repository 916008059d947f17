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

/// What is packed at most, in bytes of the files, whatever the settings say: a store that takes no parts takes 5 GiB in one
/// object.
const MOST_BYTES: u64 = 4 << 30;
/// So many files and folders are packed.
const MOST_MEMBERS: usize = 100_000;
/// Names what is left out.
const NOTE: &str = "proofhouse-left-out";
/// So many names the note has.
const MOST_NAMED: usize = 100;

/// An archive while it is written.
struct Packing {
    tar: Builder<GzEncoder<BufWriter<File>>>,
    /// How many more bytes and members there may be.
    bytes: u64,
    members: usize,
    /// What there was no room for, and the first names of it.
    left_out: u64,
    named: Vec<String>,
}

/// Packs the folder: files and folders as they are, links as links, nothing else, and nothing from outside. What is more than
/// `most` bytes is left out, and a member of its own says so. Bytes count as they are read: a file with holes takes no disk,
/// and hours to pack.
pub(crate) fn pack(out: &Path, packed: &Path, most: u64) -> io::Result<()> {
    pack_up_to(most.min(MOST_BYTES), MOST_MEMBERS, out, packed)
}

fn pack_up_to(bytes: u64, members: usize, out: &Path, packed: &Path) -> io::Result<()> {
    let file = BufWriter::new(File::create(packed)?);
    let tar = Builder::new(GzEncoder::new(file, Compression::default()));
    let mut packing = Packing { tar, bytes, members, left_out: 0, named: Vec::new() };
    packing.append_folder(out, Path::new(""), 0)?;
    packing.finish()?.into_inner()?.finish()?.into_inner()?;
    Ok(())
}

impl Packing {
    fn append_folder(&mut self, folder: &Path, name: &Path, depth: usize) -> io::Result<()> {
        // A test can leave a folder that only its own user may read: an account of it is missing then, not the whole.
        let Ok(entries) = fs::read_dir(folder) else {
            return Ok(());
        };
        // Without end it may be, too.
        let mut entries: Vec<_> = entries.take(2 * MOST_MEMBERS).collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let member = name.join(entry.file_name());
            if depth == 0 && (member == Path::new("log") || result_tar::is_member(&member)) {
                continue;
            }
            self.append(&entry, &member, depth)?;
        }
        Ok(())
    }

    fn append(&mut self, entry: &fs::DirEntry, member: &Path, depth: usize) -> io::Result<()> {
        let Ok(meta) = entry.metadata() else {
            self.leave_out(member);
            return Ok(());
        };
        let kind = meta.file_type();
        if kind.is_symlink() {
            // Its whole name can be longer than names may be.
            match fs::read_link(entry.path()) {
                Err(_) => self.leave_out(member),
                Ok(target) if self.has_room(member, 0) => {
                    let mut header = header(&meta, EntryType::Symlink, 0);
                    self.tar.append_link(&mut header, member, target)?;
                }
                Ok(_) => {}
            }
        } else if kind.is_dir() {
            if depth < MAX_DEPTH && self.has_room(member, 0) {
                self.tar.append_data(&mut header(&meta, EntryType::Directory, 0), member, io::empty())?;
                self.append_folder(&entry.path(), member, depth + 1)?;
            } else if depth == MAX_DEPTH {
                self.leave_out(member);
            }
        } else if kind.is_file()
            && let Ok(file) = files::open_regular(&entry.path())
        {
            let size = file.metadata()?.len();
            if self.has_room(member, size) {
                // The length stands before the bytes: should the file shrink meanwhile, the rest is filled up.
                let bytes = file.take(size).chain(io::repeat(0)).take(size);
                self.tar.append_data(&mut header(&meta, EntryType::Regular, size), member, bytes)?;
            }
        }
        Ok(())
    }

    /// Takes room for a member; where there is none it is left out.
    fn has_room(&mut self, member: &Path, size: u64) -> bool {
        let has = self.members > 0 && size <= self.bytes;
        if has {
            self.members -= 1;
            self.bytes -= size;
        } else {
            self.leave_out(member);
        }
        has
    }

    fn leave_out(&mut self, member: &Path) {
        self.left_out += 1;
        if self.named.len() < MOST_NAMED {
            self.named.push(member.display().to_string());
        }
    }

    fn finish(mut self) -> io::Result<Builder<GzEncoder<BufWriter<File>>>> {
        if self.left_out > 0 {
            let mut text = format!("There was no room for {} files or folders; the first:\n", self.left_out);
            text.push_str(&files::lines(&self.named));
            let mut header = Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            self.tar.append_data(&mut header, NOTE, text.as_bytes())?;
        }
        Ok(self.tar)
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
        pack(&out, &packed, u64::MAX).unwrap();
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
    fn what_is_too_much_is_left_out_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let (out, packed) = (dir.path().join("out"), dir.path().join("a.tar.gz"));
        let said = || {
            let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(&packed).unwrap()));
            let texts = archive.entries().unwrap().map(|entry| {
                let mut entry = entry.unwrap();
                (entry.path().unwrap().into_owned(), io::read_to_string(&mut entry).unwrap())
            });
            let (name, text) = texts.last().unwrap();
            assert_eq!(name, Path::new(NOTE));
            text
        };
        fs::create_dir(&out).unwrap();
        // Longer than any disk, and takes no room on one.
        File::create(out.join("endless")).unwrap().set_len(1 << 42).unwrap();
        fs::write(out.join("small"), "x").unwrap();
        pack(&out, &packed, u64::MAX).unwrap();
        assert_eq!(names(&packed), ["small", NOTE]);
        assert_eq!(said(), "There was no room for 1 files or folders; the first:\nendless\n");
        fs::remove_file(out.join("endless")).unwrap();
        for n in 0..200 {
            fs::write(out.join(format!("many{n:03}")), "x").unwrap();
        }
        pack_up_to(50, 1000, &out, &packed).unwrap();
        assert_eq!(names(&packed).len(), 51);
        pack_up_to(1000, 60, &out, &packed).unwrap();
        assert_eq!(names(&packed).len(), 61);
        assert_eq!(said().lines().count(), 1 + MOST_NAMED);
        let deep = (0..70).fold(out.clone(), |folder, _| folder.join("d"));
        fs::create_dir_all(deep).unwrap();
        pack(&out, &packed, u64::MAX).unwrap();
        assert!(said().starts_with("There was no room for 1 files or folders; the first:\nd/d/"));
    }

    #[test]
    fn a_link_whose_name_is_too_long_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let (out, packed) = (dir.path().join("out"), dir.path().join("a.tar.gz"));
        fs::create_dir(&out).unwrap();
        // Up to the longest name that can be read as a whole, and a link in it.
        let script = r#"
            name=$(printf '%0250d' 0)
            while [ $((${#PWD} + 251)) -lt 4090 ]; do mkdir "$name"; cd -P "$name"; done
            last=$(printf "%0$((4093 - ${#PWD}))d" 0)
            mkdir "$last"
            cd -P "$last"
            ln -s x a-link"#;
        let status =
            std::process::Command::new("sh").args(["-ec", script]).current_dir(&out).status().unwrap();
        assert!(status.success());
        fs::write(out.join("z"), "x").unwrap();
        pack(&out, &packed, u64::MAX).unwrap();
        let names = names(&packed);
        assert!(
            names.contains(&"z".to_owned()) && !names.iter().any(|name| name.ends_with("a-link")),
            "{names:?}"
        );
    }

    #[test]
    fn an_empty_folder_is_an_empty_archive() {
        let dir = tempfile::tempdir().unwrap();
        let packed = dir.path().join("a.tar.gz");
        pack(&dir.path().join("missing"), &packed, 0).unwrap();
        assert!(names(&packed).is_empty());
    }
}
