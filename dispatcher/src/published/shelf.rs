//! The published database in the object store: the pointer, the pairs that it names, and those that nobody needs any more.

use std::{io, path::Path, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use proofhouse_core::{
    layout::Container,
    published::{KEEP_US, MAX_POINTER, POINTER, Pair, Pointer},
    store::{Access, Body, ContentHeaders, Entry, ListQuery, Store, StoreError},
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::PublishError;

/// A pointer that takes longer to be written would come too late for its moment.
const POINTER_WITHIN: Duration = Duration::from_secs(6);
const CHUNK: usize = 1 << 20;

/// Makes the container.
pub(super) async fn prepare(store: &dyn Store) -> Result<(), StoreError> {
    store.ensure_container(&Container::published(), &Access::Public).await
}

/// The pointer; none where there is none that can be read.
pub(super) async fn pointer(store: &dyn Store) -> Result<Option<Pointer>, StoreError> {
    let bytes = match store.get(&Container::published(), POINTER, None).await {
        Err(error) if error.is_missing() => return Ok(None),
        object => object?.bytes(MAX_POINTER).await?,
    };
    let pointer = serde_json::from_slice(&bytes);
    if let Err(error) = &pointer {
        tracing::error!(error = %error, "the published database's pointer cannot be read: it is made anew");
    }
    Ok(pointer.ok())
}

/// Fetches the file of a pair; false where it is not there, or not what its digest says.
pub(super) async fn fetch(store: &dyn Store, pair: &Pair, to: &Path) -> Result<bool, PublishError> {
    let mut object = match store.get(&Container::published(), &pair.file(), None).await {
        Err(error) if error.is_missing() => return Ok(false),
        object => object?,
    };
    let (mut file, mut digest) = (tokio::fs::File::create(to).await?, Sha256::new());
    while let Some(chunk) = object.stream.next().await {
        let chunk = chunk?;
        digest.update(&chunk);
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    Ok(hex::encode(digest.finalize()) == pair.digest)
}

/// SHA-256 of a file, in hex.
pub(super) async fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut digest) = (tokio::fs::File::open(path).await?, Sha256::new());
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).await? {
            0 => return Ok(hex::encode(digest.finalize())),
            read => digest.update(&chunk[..read]),
        }
    }
}

/// Stores a file and its digest under the digest's name.
pub(super) async fn put_pair(store: &dyn Store, path: &Path, pair: &Pair) -> Result<(), StoreError> {
    let container = Container::published();
    let kind = |kind: &str| ContentHeaders { content_type: Some(kind.to_owned()), content_encoding: None };
    let file = Body::File(path.to_owned());
    store.put(&container, &pair.file(), &file, &kind("application/vnd.sqlite3")).await?;
    let digest = Body::Bytes(Bytes::from(pair.digest.clone()));
    store.put(&container, &pair.digest_file(), &digest, &kind("text/plain; charset=utf-8")).await
}

/// Writes the pointer.
pub(super) async fn move_pointer(store: &dyn Store, pointer: &Pointer) -> Result<(), PublishError> {
    let body = Body::Bytes(serde_json::to_vec(pointer).map_err(io::Error::from)?.into());
    let headers =
        ContentHeaders { content_type: Some("application/json".to_owned()), content_encoding: None };
    let container = Container::published();
    let writing = store.put(&container, POINTER, &body, &headers);
    let written = tokio::time::timeout(POINTER_WITHIN, writing).await;
    Ok(written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??)
}

/// Deletes what the pointer does not name. What came lately may be the work of another who is about to name it.
pub(super) async fn sweep(store: &dyn Store, pointer: &Pointer, now: Timestamp) -> Result<(), StoreError> {
    let container = Container::published();
    let names =
        |name: &str| pointer.pairs.iter().any(|pair| pair.file() == name || pair.digest_file() == name);
    for entry in store.list(&container, &ListQuery::default()).await? {
        let Entry::Object { name, modified, .. } = entry else { continue };
        let old = modified.is_some_and(|at| now.as_microsecond() - at.as_microsecond() > KEEP_US);
        if old && name != POINTER && !names(&name) {
            store.delete(&container, &name).await?;
        }
    }
    Ok(())
}
