//! The names below a container's folder in byte order, read folder by folder and only where they are asked for.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    super::listing::Names,
    paths::{is_gone, is_visible},
};

/// A search through a container that only goes forward.
pub(super) struct Walk {
    root: PathBuf,
    /// The folders from the first one to the one that is being read.
    levels: Vec<Level>,
}

/// What is left of one folder: names from the container on, a folder's with `/` at its end, in byte order. The slash
/// makes the order that of the whole names: `a.x` comes before `a/b`, and that before `a0`.
struct Level {
    names: Vec<String>,
    next: usize,
}

impl Walk {
    /// Names below `root` that may begin with `prefix`; none where there cannot be any. It starts at the deepest folder
    /// that the prefix names, without looking at others.
    pub(super) fn new(root: &Path, prefix: &str) -> io::Result<Option<Self>> {
        let base = prefix.rfind('/').map_or("", |end| &prefix[..=end]);
        let folder = base.strip_suffix('/').unwrap_or(base);
        if !base.is_empty() && !folder.split('/').all(is_visible) {
            return Ok(None);
        }
        let path = root.join(folder);
        match path.canonicalize() {
            Ok(real) if base.is_empty() || real == path => {}
            Err(e) if !is_gone(&e) => return Err(e),
            _ => return Ok(None), // a link leads elsewhere, or there is nothing
        }
        let mut walk = Self { root: root.to_owned(), levels: Vec::new() };
        walk.enter(base)?;
        Ok(Some(walk))
    }

    /// Reads a folder, named as in [`Level`]; one that is gone by now is empty.
    fn enter(&mut self, folder: &str) -> io::Result<()> {
        let mut names = Vec::new();
        match fs::read_dir(self.root.join(folder)) {
            Err(e) if !is_gone(&e) => return Err(e),
            entries => {
                for entry in entries.into_iter().flatten() {
                    names.extend(name_of(folder, &entry?)?);
                }
            }
        }
        names.sort_unstable();
        self.levels.push(Level { names, next: 0 });
        Ok(())
    }
}

/// The name of what may be listed: files and folders that are not hidden. Links are neither.
fn name_of(folder: &str, entry: &fs::DirEntry) -> io::Result<Option<String>> {
    let kind = match entry.file_type() {
        Err(e) if is_gone(&e) => return Ok(None),
        kind => kind?,
    };
    let slash = match (kind.is_file(), kind.is_dir()) {
        (true, _) => "",
        (_, true) => "/",
        _ => return Ok(None),
    };
    let name = entry.file_name();
    Ok(name.to_str().filter(|name| is_visible(name)).map(|name| [folder, name, slash].concat()))
}

impl Names for Walk {
    type Error = io::Error;

    fn at_or_after(&mut self, bound: &[u8]) -> io::Result<Option<String>> {
        while let Some(level) = self.levels.last_mut() {
            let before = |name: &String| name.as_bytes() < bound && !may_hold(name, bound);
            level.next += level.names[level.next..].partition_point(before);
            let Some(name) = level.names.get(level.next) else {
                self.levels.pop();
                continue;
            };
            if !name.ends_with('/') {
                return Ok(Some(name.clone()));
            }
            level.next += 1;
            let folder = name.clone();
            self.enter(&folder)?;
        }
        Ok(None)
    }
}

/// True for a folder that the bound lies in.
fn may_hold(name: &str, bound: &[u8]) -> bool {
    name.ends_with('/') && bound.starts_with(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn all(root: &Path, prefix: &str) -> Vec<String> {
        let Some(mut walk) = Walk::new(root, prefix).unwrap() else { return Vec::new() };
        let (mut found, mut bound) = (Vec::new(), prefix.as_bytes().to_vec());
        while let Some(name) = walk.at_or_after(&bound).unwrap() {
            bound = [name.as_bytes(), b"\0"].concat();
            found.push(name);
        }
        found
    }

    #[test]
    fn byte_order_over_whole_names_without_hidden_files_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let names = ["a.x", "a/.hidden", "a/b", "a/empty/", "a0", "b/c/d", ".tmp/x"];
        for name in names {
            let path = root.join(name);
            fs::create_dir_all(if name.ends_with('/') { &path } else { path.parent().unwrap() }).unwrap();
            if !name.ends_with('/') {
                fs::write(path, "x").unwrap();
            }
        }
        symlink("/etc", root.join("etc")).unwrap();
        symlink(root.join("a0"), root.join("link")).unwrap();
        assert_eq!(all(&root, ""), ["a.x", "a/b", "a0", "b/c/d"]);
        assert_eq!(all(&root, "b/"), ["b/c/d"]);
        for bad in ["etc/", "../", "/", "a//", ".tmp/", "a/../", "a0/", "nothing/", "\0/"] {
            assert_eq!(all(&root, bad), [""; 0], "{bad:?}");
        }
    }
}
