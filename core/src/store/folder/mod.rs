//! A folder as object store: plain files `{dir}/{container}/{object}`, whoever made them.
//!
//! Facts: contract "Results". A container is public unless its name is private ([`Container::is_private`]). What is
//! ours alone lies in hidden folders beside the containers; nothing hidden is listed or served, and no symbolic link
//! below the folder is followed.

mod paths;
mod upload;
mod walk;

use std::{
    fs,
    io::{self, Seek},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;
use url::Url;

use self::paths::{file_in_the_way, is_gone, object_path};
use super::{
    Access, Body, ByteRange, ContentHeaders, Entry, ListQuery, Object, ObjectInfo, Store, StoreError,
    check_name, check_query,
    listing::{self, Row},
    shown,
};
use crate::layout::Container;

/// How many bytes a stream's chunk has.
const CHUNK: usize = 64 * 1024;

/// A store in a folder of the local disk.
#[derive(Debug, Clone)]
pub struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// Containers are made one at a time, so that two readers are never told that one container is theirs.
    making: Mutex<()>,
}

impl Folder {
    /// The store in `dir`, which is made when first needed.
    pub fn new(dir: PathBuf) -> Self {
        Self(Arc::new(Inner { dir, making: Mutex::new(()) }))
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|e| Err(io_error(&self.0.dir)(io::Error::other(e))))
    }
}

#[async_trait]
impl Store for Folder {
    async fn ensure_container(&self, container: &Container, access: &Access) -> Result<(), StoreError> {
        let (container, access) = (container.clone(), access.clone());
        self.blocking(move |inner| inner.ensure_container(&container, &access)).await
    }

    /// The headers are not kept: they follow from the name ([`ContentHeaders::of`]).
    async fn put(
        &self,
        container: &Container,
        object: &str,
        body: &Body,
        _headers: &ContentHeaders,
    ) -> Result<(), StoreError> {
        let (container, object, body) = (container.clone(), object.to_owned(), body.clone());
        self.blocking(move |inner| inner.put(&container, &object, &body)).await
    }

    async fn get(
        &self,
        container: &Container,
        object: &str,
        range: Option<ByteRange>,
    ) -> Result<Object, StoreError> {
        let place = self.0.place(container);
        let (container, object) = (container.clone(), object.to_owned());
        let opened = self.blocking(move |inner| inner.open(&container, &object, range)).await?;
        let file = tokio::fs::File::from_std(opened.file).take(opened.length);
        let stream = ReaderStream::with_capacity(file, CHUNK).map_err(io_error(&place)).boxed();
        Ok(Object { info: opened.info, part: opened.part, stream })
    }

    async fn head(&self, container: &Container, object: &str) -> Result<ObjectInfo, StoreError> {
        let (container, object) = (container.clone(), object.to_owned());
        self.blocking(move |inner| {
            let path = inner.find(&container, &object)?;
            inner.info(&container, &object, fs::metadata(path))
        })
        .await
    }

    async fn list(&self, container: &Container, query: &ListQuery) -> Result<Vec<Entry>, StoreError> {
        let (container, query) = (container.clone(), query.clone());
        self.blocking(move |inner| inner.list(&container, &query)).await
    }

    async fn delete(&self, container: &Container, object: &str) -> Result<(), StoreError> {
        let (container, object) = (container.clone(), object.to_owned());
        self.blocking(move |inner| inner.delete(&container, &object)).await
    }

    async fn is_public(&self, container: &Container) -> Result<bool, StoreError> {
        let container = container.clone();
        self.blocking(move |inner| Ok(!container.is_private() && inner.container(&container).is_ok())).await
    }

    async fn containers(&self, prefix: &str) -> Result<Vec<Container>, StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |inner| inner.containers(&prefix).map_err(io_error(&inner.dir))).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.blocking(Inner::check).await
    }

    fn address(&self) -> String {
        Url::from_directory_path(&self.0.dir).map_or_else(
            |()| self.0.dir.display().to_string(),
            |url| url.as_str().trim_end_matches('/').into(),
        )
    }
}

/// A file that is ready to be streamed.
struct Opened {
    file: fs::File,
    length: u64,
    info: ObjectInfo,
    part: Option<(u64, u64)>,
}

impl Inner {
    /// What errors name: never what a private run is called.
    fn place(&self, container: &Container) -> PathBuf {
        if container.is_private() { self.dir.clone() } else { self.dir.join(container.as_str()) }
    }

    /// The container's folder, all links of the way to the store itself resolved.
    fn container(&self, container: &Container) -> Result<PathBuf, StoreError> {
        let missing = || StoreError::NoContainer(shown(container, container.as_str()));
        let dir = match self.dir.canonicalize() {
            Err(e) if is_gone(&e) => return Err(missing()),
            dir => dir.map_err(io_error(&self.dir))?,
        };
        let path = dir.join(container.as_str());
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => Ok(path),
            Err(e) if !is_gone(&e) => Err(io_error(&self.place(container))(e)),
            _ => Err(missing()),
        }
    }

    /// The path of an object that exists.
    fn find(&self, container: &Container, object: &str) -> Result<PathBuf, StoreError> {
        let missing = || StoreError::NoObject(shown(container, object));
        let path = object_path(&self.container(container)?, container, object)?;
        match path.canonicalize() {
            // A link on the way makes another path of it.
            Ok(real) if real == path && real.is_file() => Ok(path),
            Err(e) if !is_gone(&e) => Err(io_error(&self.place(container))(e)),
            _ => Err(missing()),
        }
    }

    fn info(
        &self,
        container: &Container,
        object: &str,
        found: io::Result<fs::Metadata>,
    ) -> Result<ObjectInfo, StoreError> {
        match found {
            Ok(metadata) => Ok(info_of(object, &metadata)),
            Err(e) if is_gone(&e) => Err(StoreError::NoObject(shown(container, object))),
            Err(e) => Err(io_error(&self.place(container))(e)),
        }
    }

    fn open(
        &self,
        container: &Container,
        object: &str,
        range: Option<ByteRange>,
    ) -> Result<Opened, StoreError> {
        let failed = io_error(&self.place(container));
        let mut file = match fs::File::open(self.find(container, object)?) {
            Err(e) if is_gone(&e) => return Err(StoreError::NoObject(shown(container, object))),
            file => file.map_err(&failed)?,
        };
        let info = self.info(container, object, file.metadata())?;
        let Some(range) = range else {
            return Ok(Opened { file, length: info.length, info, part: None });
        };
        let (first, last) = range.within(info.length).ok_or(StoreError::BadRange { length: info.length })?;
        file.seek(io::SeekFrom::Start(first)).map_err(&failed)?;
        Ok(Opened { file, length: last - first + 1, info, part: Some((first, last)) })
    }

    fn list(&self, container: &Container, query: &ListQuery) -> Result<Vec<Entry>, StoreError> {
        check_query(container, query)?;
        let root = self.container(container)?;
        let failed = io_error(&self.place(container));
        let Some(mut walk) = walk::Walk::new(&root, &query.prefix).map_err(&failed)? else {
            return Ok(Vec::new());
        };
        let mut entries = Vec::new();
        for row in listing::page(&mut walk, query).map_err(&failed)? {
            match row {
                Row::Prefix(name) => entries.push(Entry::Prefix(name)),
                Row::Object(name) => match fs::symlink_metadata(root.join(&name)) {
                    Err(e) if is_gone(&e) => {} // deleted since it was found
                    found => entries.push(entry_of(name, &found.map_err(&failed)?)),
                },
            }
        }
        Ok(entries)
    }

    fn containers(&self, prefix: &str) -> io::Result<Vec<Container>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if is_gone(&e) => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut containers = Vec::new();
        for entry in entries {
            let entry = entry?;
            // Neither a hidden folder nor a link is a container.
            let name = entry.file_name().to_str().and_then(|name| name.parse::<Container>().ok());
            if let Some(container) = name
                && container.as_str().starts_with(prefix)
                && entry.file_type()?.is_dir()
            {
                containers.push(container);
            }
        }
        containers.sort();
        Ok(containers)
    }

    fn delete(&self, container: &Container, object: &str) -> Result<(), StoreError> {
        let path = match self.find(container, object) {
            Err(e) if e.is_missing() => return Ok(()),
            path => path?,
        };
        match fs::remove_file(&path) {
            Err(e) if !is_gone(&e) => return Err(io_error(&self.place(container))(e)),
            _ => {}
        }
        // Folders that became empty go too; the first that is not empty ends it.
        let depth = object.split('/').count() - 1;
        for folder in path.ancestors().skip(1).take(depth) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn ensure_container(&self, container: &Container, access: &Access) -> Result<(), StoreError> {
        if *access != Access::Public && !container.is_private() {
            return Err(StoreError::Forbidden {
                address: self.dir.display().to_string(),
                reason: format!("a container named {container} is readable by everyone"),
            });
        }
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = io_error(&self.place(container));
        if self.container(container).is_err() {
            // The reader first: a container without one is nobody's.
            if let Access::Reader(user) = access {
                self.write_reader(container, user.as_str()).map_err(&failed)?;
            }
            let mode = if container.is_private() { 0o700 } else { 0o755 };
            fs::create_dir_all(&self.dir).map_err(&failed)?;
            let done = fs::DirBuilder::new().mode(mode).create(self.dir.join(container.as_str()));
            match done {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
                _ => upload::sync_dir(&self.dir).map_err(&failed)?,
            }
        }
        self.check_reader(container, access)
    }

    fn check_reader(&self, container: &Container, access: &Access) -> Result<(), StoreError> {
        let Access::Reader(user) = access else {
            return Ok(());
        };
        match fs::read_to_string(self.reader_file(container)) {
            Ok(reader) if reader.trim_end() == user.as_str() => Ok(()),
            Err(e) if !is_gone(&e) => Err(io_error(&self.place(container))(e)),
            _ => Err(StoreError::OtherReader { container: container.to_string(), reader: user.to_string() }),
        }
    }

    fn reader_file(&self, container: &Container) -> PathBuf {
        self.dir.join(".readers").join(container.as_str())
    }

    fn write_reader(&self, container: &Container, user: &str) -> io::Result<()> {
        let path = self.reader_file(container);
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file = self.temporary()?;
        io::Write::write_all(&mut file, user.as_bytes())?;
        upload::persist(file, &path)
    }

    /// A place that can be written to.
    fn check(&self) -> Result<(), StoreError> {
        let mut file = self.temporary().map_err(io_error(&self.dir))?;
        io::Write::write_all(&mut file, b"proofhouse").map_err(io_error(&self.dir))
    }
}

/// Content headers by the name's last segment. The entity tag is made of length, time and inode: every upload is a
/// new file, so it changes whenever the bytes do, and it costs no reading of them.
fn info_of(object: &str, metadata: &fs::Metadata) -> ObjectInfo {
    let nanos = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    ObjectInfo {
        length: metadata.len(),
        etag: format!("{:x}-{nanos:x}-{:x}", metadata.len(), metadata.ino()),
        modified: Timestamp::from_nanosecond(nanos).ok(),
        headers: ContentHeaders::of(object.rsplit('/').next().unwrap_or(object)),
    }
}

fn entry_of(name: String, metadata: &fs::Metadata) -> Entry {
    let info = info_of(&name, metadata);
    Entry::Object {
        name,
        length: info.length,
        etag: info.etag,
        modified: info.modified,
        content_type: info.headers.content_type.unwrap_or_default(),
    }
}

fn io_error(place: &Path) -> impl Fn(io::Error) -> StoreError + use<> {
    let path = place.display().to_string();
    move |source| StoreError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests;
