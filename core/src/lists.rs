//! The lists that say what is special about a package: big, long, never to be run, to be run in a virtual machine.
//!
//! Facts: contract "Runs", heading "Lists".

mod keep;
mod rule;
mod source;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use self::rule::List;
pub use self::{
    keep::keep,
    source::{Source, SourceError},
};
use crate::{
    names::{Package, Pair},
    protocol::Listed,
};

/// The four lists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lists {
    big: List,
    long: List,
    never: List,
    vm: List,
}

/// A line that was skipped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{}:{line}: {what}", file.display())]
pub struct BadLine {
    /// The list's file.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl Lists {
    /// Reads the files of a folder. A list without a file is empty; bad lines are skipped and returned.
    ///
    /// # Errors
    /// The folder or a file cannot be read: an empty list would run what must never run.
    pub fn load(folder: &Path) -> io::Result<(Self, BTreeSet<BadLine>)> {
        fs::read_dir(folder)?;
        let mut bad = BTreeSet::new();
        let mut list = |name: &str| read(&folder.join(name), &mut bad);
        let lists = Self {
            big: list("big_packages")?,
            long: list("long_tests")?,
            never: list("never_run")?,
            vm: list("vm_packages")?,
        };
        Ok((lists, bad))
    }

    /// What the lists say of a package on a release and arch.
    pub fn of(&self, package: &Package, pair: &Pair) -> Listed {
        Listed {
            big: self.big.names(package, pair),
            long: self.long.names(package, pair),
            never: self.never.names(package, pair),
            vm: self.vm.names(package, pair),
        }
    }
}

fn read(file: &Path, bad: &mut BTreeSet<BadLine>) -> io::Result<List> {
    let bytes = match fs::read(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(List::default()),
        bytes => bytes?,
    };
    let (list, mistakes) = List::parse(&String::from_utf8_lossy(&bytes));
    bad.extend(mistakes.into_iter().map(|(line, what)| BadLine { file: file.to_owned(), line, what }));
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("big_packages"), "# big\nlibreoffice\nbad line\n").unwrap();
        fs::write(dir.path().join("never_run"), b"linux*/armhf # no modules\n\xff\n").unwrap();
        let (lists, bad) = Lists::load(dir.path()).unwrap();
        let of = |package: &str, pair: &str| lists.of(&package.parse().unwrap(), &pair.parse().unwrap());
        assert_eq!(of("libreoffice", "noble/amd64"), Listed { big: true, ..Listed::default() });
        assert_eq!(of("linux-meta", "noble/armhf"), Listed { never: true, ..Listed::default() });
        assert_eq!(of("linux-meta", "noble/amd64"), Listed::default());
        let bad: Vec<String> =
            bad.iter().map(|b| b.to_string().replace(dir.path().to_str().unwrap(), "")).collect();
        assert!(bad[0].starts_with("/big_packages:3: ") && bad[1].starts_with("/never_run:2: "), "{bad:?}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_empty_list() {
        assert!(Lists::load(Path::new("/nowhere/lists")).is_err());
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("never_run")).unwrap();
        assert!(Lists::load(dir.path()).is_err());
    }
}
