//! The object store: the truth about what happened. One trait, and an end for each kind of store.

#[cfg(any(test, feature = "behaviour"))]
pub mod behaviour;
pub mod folder;
mod listing;
mod open;
mod range;
pub mod s3;
pub mod swift;
pub mod untrusted;

pub use self::open::{open, open_trusting, open_with};

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;

use crate::{layout::Container, params::SwiftUser};

/// Who may read a container (contract "Containers").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anyone may list and read.
    Public,
    /// One user of the store may; Swift: `*:{user}`. An existing container that names another reader is refused, never widened.
    Reader(SwiftUser),
    /// Nobody but ourselves.
    Internal,
}

/// What is stored beside the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContentHeaders {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
}

impl ContentHeaders {
    /// The headers that a run's file is stored with, by its name (contract "Objects").
    pub fn of(file: &str) -> Self {
        let (content_type, content_encoding) = match file {
            crate::layout::file::LOG => ("text/plain; charset=UTF-8", Some("gzip")),
            crate::layout::file::RESULT => ("application/x-tar", None),
            crate::layout::file::ARTIFACTS => ("application/gzip", None),
            crate::layout::file::READABLE_BY => ("text/plain; charset=UTF-8", None),
            _ => ("application/octet-stream", None),
        };
        Self {
            content_type: Some(content_type.to_owned()),
            content_encoding: content_encoding.map(str::to_owned),
        }
    }
}

/// Where the bytes of an upload come from. It can be read again for another try.
#[derive(Debug, Clone)]
pub enum Body {
    /// From memory.
    Bytes(Bytes),
    /// From a file, streamed.
    File(PathBuf),
}

/// What is known of an object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Length in bytes.
    pub length: u64,
    /// The entity tag, without quotes: MD5 of the bytes in Swift.
    pub etag: String,
    /// When it was stored.
    pub modified: Option<Timestamp>,
    /// Type and encoding.
    pub headers: ContentHeaders,
}

/// A part of an object, as HTTP's `Range` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From an offset, to another (inclusive) or the end.
    From(u64, Option<u64>),
    /// The last bytes.
    Last(u64),
}

impl ByteRange {
    /// First and last byte (inclusive) within an object of `length` bytes; none where nothing of it is there.
    pub fn within(self, length: u64) -> Option<(u64, u64)> {
        let (first, last) = match self {
            Self::From(first, last) => (first, last.unwrap_or(u64::MAX).min(length.checked_sub(1)?)),
            Self::Last(0) => return None,
            Self::Last(n) => (length.saturating_sub(n), length.checked_sub(1)?),
        };
        (first <= last).then_some((first, last))
    }
}

/// An object's bytes as they come.
pub struct Object {
    /// Of the whole object.
    pub info: ObjectInfo,
    /// First and last byte of what comes, when a part was asked for.
    pub part: Option<(u64, u64)>,
    /// The bytes.
    pub stream: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl Object {
    /// All bytes, at most `limit`.
    pub async fn bytes(self, limit: u64) -> Result<Bytes, StoreError> {
        collect(self.stream, limit).await
    }
}

/// All bytes of a stream, at most `limit`.
async fn collect(
    mut stream: BoxStream<'static, Result<Bytes, StoreError>>,
    limit: u64,
) -> Result<Bytes, StoreError> {
    use futures::StreamExt;
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk?);
        if all.len() as u64 > limit {
            return Err(StoreError::TooLarge { limit });
        }
    }
    Ok(all.into())
}

/// What to list (contract "What readers do"): Swift's semantics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Only names that begin so.
    pub prefix: String,
    /// Names are rolled up after the first of these behind the prefix.
    pub delimiter: Option<String>,
    /// Only names greater than this; a rolled-up name equal to it is left out.
    pub marker: String,
    /// At most so many; none: the store's own page (10,000 in Swift).
    pub limit: Option<usize>,
}

/// The longest page that any store gives.
pub const MAX_PAGE: usize = 10_000;

/// The most of a store's own words that is read, a listing's for one, in bytes: more than the longest page has.
const MAX_ANSWER: u64 = 64 << 20;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An object.
    Object {
        /// Its name.
        name: String,
        /// Length in bytes.
        length: u64,
        /// Entity tag.
        etag: String,
        /// When it was stored.
        modified: Option<Timestamp>,
        /// Its type.
        content_type: String,
    },
    /// Names rolled up to a common beginning that ends in the delimiter.
    Prefix(String),
}

impl Entry {
    /// The name, whole or rolled up.
    pub fn name(&self) -> &str {
        match self {
            Self::Object { name, .. } | Self::Prefix(name) => name,
        }
    }
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL or the credentials are not usable.
    #[error("the store's configuration is not usable: {0}")]
    Configuration(String),
    /// The container does not exist.
    #[error("container {0} does not exist")]
    NoContainer(String),
    /// The object does not exist.
    #[error("object {0} does not exist")]
    NoObject(String),
    /// We may not.
    #[error("the store at {address} forbids it: {reason}")]
    Forbidden {
        /// Without credentials.
        address: String,
        /// The store's text.
        reason: String,
    },
    /// An existing private container names another reader.
    /// The text names neither: both belong to a private run, and errors are logged.
    #[error("a private container is readable by another user than the one asked for; it is not widened")]
    OtherReader {
        /// The container, for those who may know it.
        container: String,
        /// Who was asked for, likewise.
        reader: String,
    },
    /// An object's name that leads out of its container.
    #[error("object name {0:?} is not valid")]
    BadName(String),
    /// What is stored differs from what was sent.
    #[error("object {name} was stored damaged ({reason})")]
    Damaged {
        /// The object.
        name: String,
        /// The difference.
        reason: String,
    },
    /// Nothing of the part that was asked for is there.
    #[error("the range lies outside of the object's {length} bytes")]
    BadRange {
        /// The whole object's length in bytes.
        length: u64,
    },
    /// Larger than its reader allows.
    #[error("the object is larger than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// A file of ours cannot be read, or the folder's disk fails.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The store cannot be reached, or fails inside. Try again.
    #[error("the store at {address} is away: {reason}")]
    Away {
        /// Without credentials.
        address: String,
        /// The cause.
        reason: String,
    },
}

impl StoreError {
    /// True where the same call may work later.
    pub const fn may_retry(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Damaged { .. } | Self::Io { .. })
    }

    /// True where the container or the object does not exist.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::NoContainer(_) | Self::NoObject(_))
    }
}

/// How an error names a container or an object: what belongs to a private run is never named, for errors are logged.
fn shown(container: &Container, name: &str) -> String {
    if container.is_private() { "(private)".to_owned() } else { name.to_owned() }
}

/// The longest name of an object in Swift, in bytes.
const MAX_OBJECT_NAME: usize = 1024;

/// Refuses names that no store takes: a path that leads out, or one that another path equals.
fn check_name(container: &Container, object: &str) -> Result<(), StoreError> {
    let good = object.len() <= MAX_OBJECT_NAME
        && !object.contains('\0')
        && object.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    if good { Ok(()) } else { Err(StoreError::BadName(shown(container, object))) }
}

/// Refuses a NUL, which no name has and not every store takes in a query.
fn check_query(container: &Container, query: &ListQuery) -> Result<(), StoreError> {
    let texts = [&query.prefix, &query.marker, query.delimiter.as_ref().unwrap_or(&query.prefix)];
    match texts.iter().find(|text| text.contains('\0')) {
        Some(text) => Err(StoreError::BadName(shown(container, text))),
        None => Ok(()),
    }
}

/// An object store. Object names are `/`-separated, UTF-8, without empty, `.` or `..` segments.
#[async_trait]
pub trait Store: Send + Sync {
    /// Makes the container with its access rule where it is missing; checks the reader where it exists.
    async fn ensure_container(&self, container: &Container, access: &Access) -> Result<(), StoreError>;

    /// Stores an object whole or not at all, replacing an older one, and verifies what arrived.
    async fn put(
        &self,
        container: &Container,
        object: &str,
        body: &Body,
        headers: &ContentHeaders,
    ) -> Result<(), StoreError>;

    /// Reads an object, or a part of it.
    async fn get(
        &self,
        container: &Container,
        object: &str,
        range: Option<ByteRange>,
    ) -> Result<Object, StoreError>;

    /// What is known of an object.
    async fn head(&self, container: &Container, object: &str) -> Result<ObjectInfo, StoreError>;

    /// One page of names, in byte order.
    async fn list(&self, container: &Container, query: &ListQuery) -> Result<Vec<Entry>, StoreError>;

    /// Deletes an object; one that does not exist is no error.
    async fn delete(&self, container: &Container, object: &str) -> Result<(), StoreError>;

    /// True where anyone may list and read; false for a container that does not exist.
    async fn is_public(&self, container: &Container) -> Result<bool, StoreError>;

    /// All containers of this store whose names begin with `prefix`, in byte order.
    async fn containers(&self, prefix: &str) -> Result<Vec<Container>, StoreError>;

    /// Asks the store for a sign of life.
    async fn check(&self) -> Result<(), StoreError>;

    /// The store's address without credentials, for people.
    fn address(&self) -> String;
}

/// True where a page holds what was asked for. Of a store that goes by another prefix or marker, others' objects would be
/// deleted, and the same ones listed without end.
fn is_answer(page: &[Entry], query: &ListQuery) -> bool {
    page.iter().all(|entry| {
        let name = entry.name();
        // A name that others are rolled up to is shown once more where the marker lies below it.
        let rolled_up = matches!(entry, Entry::Prefix(_)) && query.marker.starts_with(name);
        name.starts_with(&query.prefix) && (name > query.marker.as_str() || rolled_up)
    })
}

/// Deletes every object whose name begins with `prefix`.
pub async fn delete_prefix(store: &dyn Store, container: &Container, prefix: &str) -> Result<(), StoreError> {
    let mut query = ListQuery { prefix: prefix.to_owned(), ..ListQuery::default() };
    loop {
        let page = match store.list(container, &query).await {
            Err(e) if e.is_missing() => return Ok(()),
            page => page?,
        };
        // By marker, not "until it is empty": a store's listing may lag behind its deletions.
        let Some(last) = page.last() else {
            return Ok(());
        };
        last.name().clone_into(&mut query.marker);
        for entry in &page {
            store.delete(container, entry.name()).await?;
        }
    }
}
