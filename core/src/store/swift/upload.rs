//! The bytes of an upload: hashed before they are sent, read anew on each try.

use std::{fs::File, io, path::Path};

use bytes::Bytes;
use futures::StreamExt;
use md5::{Digest, Md5};
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue};
use tokio::{io::AsyncReadExt, sync::watch};
use tokio_util::io::ReaderStream;

use crate::store::{Body, StoreError};

/// The largest object of one PUT in Swift's default configuration: 5 GiB.
const MAX_LENGTH: u64 = 5 * 1024 * 1024 * 1024;

/// How many bytes a file's chunk has.
const CHUNK: usize = 64 * 1024;

/// A body with its length and MD5. The sum goes ahead of the bytes, so that Swift itself refuses what arrives damaged
/// and a damaged object is never seen.
pub(super) struct Upload {
    body: Body,
    length: u64,
    /// In hex.
    pub(super) md5: String,
}

impl Upload {
    /// Reads the body once.
    pub(super) async fn new(body: &Body) -> Result<Self, StoreError> {
        let body = body.clone();
        let (length, md5) = match &body {
            Body::Bytes(bytes) => (bytes.len() as u64, hex::encode(Md5::digest(bytes))),
            Body::File(path) => {
                let file = path.clone();
                let summed = tokio::task::spawn_blocking(move || sum(&file)).await;
                summed.unwrap_or_else(|e| Err(io::Error::other(e))).map_err(unreadable(path))?
            }
        };
        if length > MAX_LENGTH {
            return Err(StoreError::TooLarge { limit: MAX_LENGTH });
        }
        Ok(Self { body, length, md5 })
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // Without a length the body would be sent in chunks, which some stores refuse.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.length));
        if let Ok(md5) = HeaderValue::from_str(&self.md5) {
            headers.insert(ETAG, md5);
        }
        headers
    }

    /// The bytes from their beginning. `progress` is told of each chunk that is taken.
    pub(super) async fn body(&self, progress: watch::Sender<()>) -> Result<reqwest::Body, StoreError> {
        match &self.body {
            Body::Bytes(bytes) => Ok(reqwest::Body::from(Bytes::clone(bytes))),
            Body::File(path) => {
                let file = tokio::fs::File::open(path).await.map_err(unreadable(path))?;
                let chunks = ReaderStream::with_capacity(file.take(self.length), CHUNK);
                Ok(reqwest::Body::wrap_stream(chunks.inspect(move |_| {
                    progress.send_replace(());
                })))
            }
        }
    }
}

/// Length and MD5 of a file.
fn sum(path: &Path) -> io::Result<(u64, String)> {
    let mut md5 = Md5::new();
    let length = io::copy(&mut File::open(path)?, &mut md5)?;
    Ok((length, hex::encode(md5.finalize())))
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> StoreError + use<> {
    let path = path.display().to_string();
    move |source| StoreError::Io { path: path.clone(), source }
}
