//! Uploads: hashed before they are sent, whole or in parts, compared with what the server says it stored.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use aws_sdk_s3::{
    primitives::{ByteStream, Length},
    types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use md5::{Digest, Md5};

use super::{Failure, Place, S3, client::patience, unquoted};
use crate::{
    layout::Container,
    store::{Body, ContentHeaders, StoreError, shown},
};

/// Larger bodies are sent in parts: a part that fails is sent again, not all of it.
pub(super) const PART: u64 = 64 * 1024 * 1024;

/// The most parts of an object.
const MAX_PARTS: u64 = 10_000;

/// The largest object: 5 TiB.
const MAX_LENGTH: u64 = 5 << 40;

/// A part of a body, with its sum.
#[derive(Debug, Clone, Copy)]
struct Part {
    offset: u64,
    length: u64,
    md5: [u8; 16],
}

/// A body in its parts; a short one is one part.
struct Upload<'a> {
    body: &'a Body,
    parts: Vec<Part>,
}

impl<'a> Upload<'a> {
    /// Reads the body once.
    async fn new(body: &'a Body, part: u64) -> Result<Self, StoreError> {
        let summed = match body {
            Body::Bytes(bytes) => {
                sums(&bytes[..], bytes.len() as u64, part).map_err(unreadable(Path::new("")))
            }
            Body::File(path) => {
                let file = path.clone();
                let summed = tokio::task::spawn_blocking(move || {
                    let file = File::open(file)?;
                    let length = file.metadata()?.len();
                    sums(file, length, part)
                });
                summed.await.unwrap_or_else(|e| Err(io::Error::other(e))).map_err(unreadable(path))
            }
        };
        let parts = summed?;
        if parts.iter().map(|part| part.length).sum::<u64>() > MAX_LENGTH {
            return Err(StoreError::TooLarge { limit: MAX_LENGTH });
        }
        Ok(Self { body, parts })
    }

    fn length(&self) -> u64 {
        self.parts.iter().map(|part| part.length).sum()
    }

    async fn bytes(&self, part: Part) -> Result<ByteStream, StoreError> {
        match self.body {
            Body::Bytes(bytes) => Ok(ByteStream::from(slice(bytes, part))),
            Body::File(path) => {
                let stream = ByteStream::read_from().path(path).offset(part.offset);
                let stream = stream.length(Length::Exact(part.length)).build().await;
                stream.map_err(|e| unreadable(path)(io::Error::other(e)))
            }
        }
    }
}

fn slice(bytes: &Bytes, part: Part) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(part.offset)..at(part.offset.saturating_add(part.length)))
}

/// The parts of a body that is expected to be `length` bytes long.
fn sums(mut body: impl Read, length: u64, part: u64) -> io::Result<Vec<Part>> {
    let size = part.max(length.div_ceil(MAX_PARTS));
    let mut parts: Vec<Part> = Vec::new();
    loop {
        let mut md5 = Md5::new();
        let length = io::copy(&mut body.by_ref().take(size), &mut md5)?;
        let offset = parts.last().map_or(0, |last| last.offset + last.length);
        if length > 0 || parts.is_empty() {
            parts.push(Part { offset, length, md5: md5.finalize().into() });
        }
        if length < size {
            return Ok(parts);
        }
    }
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> StoreError + use<> {
    let path = path.display().to_string();
    move |source| StoreError::Io { path: path.clone(), source }
}

/// Where an upload goes, and how errors name it.
struct Target<'a> {
    container: &'a Container,
    object: &'a str,
    place: Place,
    headers: &'a ContentHeaders,
}

impl Target<'_> {
    fn key(&self) -> String {
        self.place.key(self.object)
    }

    fn damaged(&self, reason: String) -> StoreError {
        StoreError::Damaged { name: shown(self.container, self.object), reason }
    }

    /// Compares the sum of what was stored. With keys of a key server the tag is no sum; that the server was sent one
    /// is enough.
    fn compare(
        &self,
        part: Part,
        etag: Option<&str>,
        encryption: Option<&ServerSideEncryption>,
    ) -> Result<(), StoreError> {
        let (sent, stored) = (hex::encode(part.md5), unquoted(etag));
        let is_sum = stored.len() == sent.len() && stored.bytes().all(|b| b.is_ascii_hexdigit());
        let plain = encryption.is_none_or(|kind| *kind == ServerSideEncryption::Aes256);
        if is_sum && plain && !stored.eq_ignore_ascii_case(&sent) {
            return Err(self.damaged(format!("MD5 {sent} became {stored}")));
        }
        Ok(())
    }
}

impl S3 {
    pub(super) async fn upload(
        &self,
        container: &Container,
        object: &str,
        body: &Body,
        headers: &ContentHeaders,
    ) -> Result<(), StoreError> {
        let place = self.place_of(container, object).await?;
        let upload = Upload::new(body, self.part).await?;
        let target = Target { container, object, place, headers };
        match upload.parts.as_slice() {
            [part] => self.put_whole(&target, &upload, *part).await,
            _ => self.put_parts(&target, &upload).await,
        }
    }

    fn failed(&self, target: &Target<'_>, failure: impl Into<Failure>) -> StoreError {
        self.unwritten(failure.into(), target.container, target.object)
    }

    async fn put_whole(
        &self,
        target: &Target<'_>,
        upload: &Upload<'_>,
        part: Part,
    ) -> Result<(), StoreError> {
        let request = self.client().await.put_object().bucket(&target.place.bucket).key(target.key());
        let request = request
            .set_content_type(target.headers.content_type.clone())
            .set_content_encoding(target.headers.content_encoding.clone())
            // The server refuses what arrives damaged, and nobody sees it.
            .content_md5(BASE64_STANDARD.encode(part.md5))
            .body(upload.bytes(part).await?);
        let sent = request.customize().config_override(patience(part.length)).send().await;
        let answer = sent.map_err(|e| self.failed(target, e))?;
        target.compare(part, answer.e_tag(), answer.server_side_encryption())
    }

    async fn put_parts(&self, target: &Target<'_>, upload: &Upload<'_>) -> Result<(), StoreError> {
        let request = self.client().await.create_multipart_upload().bucket(&target.place.bucket);
        let request = request
            .key(target.key())
            .set_content_type(target.headers.content_type.clone())
            .set_content_encoding(target.headers.content_encoding.clone());
        let begun = request.send().await.map_err(|e| self.failed(target, e))?;
        let id = begun.upload_id().unwrap_or_default();
        let done = self.send_parts(target, upload, id).await;
        if done.is_err() {
            // Parts cost room. Where this fails too, a rule of the bucket must remove them.
            let request = self.client().await.abort_multipart_upload().bucket(&target.place.bucket);
            let _ = request.key(target.key()).upload_id(id).send().await;
        }
        done
    }

    async fn send_parts(&self, target: &Target<'_>, upload: &Upload<'_>, id: &str) -> Result<(), StoreError> {
        let mut parts = Vec::new();
        for (number, part) in (1..).zip(upload.parts.iter().copied()) {
            let request = self.client().await.upload_part().bucket(&target.place.bucket).key(target.key());
            let request = request
                .upload_id(id)
                .part_number(number)
                .content_md5(BASE64_STANDARD.encode(part.md5))
                .body(upload.bytes(part).await?);
            let sent = request.customize().config_override(patience(part.length)).send().await;
            let answer = sent.map_err(|e| self.failed(target, e))?;
            target.compare(part, answer.e_tag(), answer.server_side_encryption())?;
            let done =
                CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag().map(str::to_owned));
            parts.push(done.build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client().await.complete_multipart_upload().bucket(&target.place.bucket);
        let request = request.key(target.key()).upload_id(id).multipart_upload(parts);
        // The server may copy the parts together before it answers.
        let sent = request.customize().config_override(patience(upload.length())).send().await;
        sent.map_err(|e| self.failed(target, e))?;
        self.check_length(target, upload.length()).await
    }

    async fn check_length(&self, target: &Target<'_>, length: u64) -> Result<(), StoreError> {
        let request = self.client().await.head_object().bucket(&target.place.bucket).key(target.key());
        let stored = request.send().await.map_err(|e| self.failed(target, e))?;
        match stored.content_length().and_then(|stored| u64::try_from(stored).ok()) {
            Some(stored) if stored != length => {
                Err(target.damaged(format!("{length} bytes became {stored}")))
            }
            _ => Ok(()),
        }
    }
}
