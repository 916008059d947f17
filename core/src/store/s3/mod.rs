//! S3, and what speaks its API: AWS, MinIO, Ceph's radosgw, Garage, Swift's s3api.
//!
//! Facts: contract "Results", and AWS's S3 API reference. A container is a bucket of its own, or a key prefix in one
//! bucket (see [`S3Address`]). Who may read it is kept in an object of ours beside its objects, because not every
//! server has bucket policies; where the server has them, it lets the same readers in by itself.

mod access;
mod address;
mod client;
mod failure;
mod limit;
mod list;
mod policy;
mod upload;

pub use self::address::S3Address;

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::SharedHttpClient,
    operation::{get_object::GetObjectOutput, head_object::HeadObjectOutput},
    primitives::{ByteStream, DateTime},
};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use jiff::Timestamp;

use self::{access::Record, client::Connection, failure::Failure};
use super::{
    Access, Body, ByteRange, ContentHeaders, Entry, ListQuery, Object, ObjectInfo, Store, StoreError,
    check_name, check_query, range, shown,
};
use crate::{layout::Container, tls::Authorities};

/// A download of which nothing comes for so long is given up.
const STALL: Duration = Duration::from_secs(60);

/// What lies below this is ours alone: it is never listed, and nobody reads or writes it by name.
const OURS: &str = ".proofhouse/";

/// A store in S3. It has no `Debug`: it holds secrets.
pub struct S3 {
    address: S3Address,
    connection: Connection,
    /// The access rules of existing containers, and since when we know.
    known: Mutex<HashMap<Container, (Instant, Record)>>,
    /// When the server was last told of these containers' readers.
    told: Mutex<HashMap<Container, Instant>>,
    /// Larger bodies are sent in parts of this size, in bytes.
    part: u64,
}

/// Where a container lies.
struct Place {
    bucket: String,
    /// What all its keys begin with: empty, or `{container}/`.
    prefix: String,
}

impl Place {
    fn key(&self, object: &str) -> String {
        format!("{}{object}", self.prefix)
    }
}

impl S3 {
    /// The store at an address, with credentials from variables `AWS_…`, or else from the rest of AWS's usual chain:
    /// profile, web identity, container, machine. It connects when first used.
    pub fn new(
        address: S3Address,
        variable: &dyn Fn(&str) -> Option<String>,
        authorities: &Authorities,
    ) -> Result<Self, StoreError> {
        let connection = Connection::new(&address, variable, authorities)?;
        Ok(Self { address, connection, known: Mutex::default(), told: Mutex::default(), part: upload::PART })
    }

    /// A store whose server is another's.
    pub(super) fn over(server: SharedHttpClient) -> Self {
        let address = S3Address { bucket: None, endpoint: None, region: None };
        let connection = Connection::over(server);
        Self { address, connection, known: Mutex::default(), told: Mutex::default(), part: upload::PART }
    }

    async fn client(&self) -> &Client {
        self.connection.client().await
    }

    fn place(&self, container: &Container) -> Place {
        match &self.address.bucket {
            Some(bucket) => Place { bucket: bucket.clone(), prefix: format!("{container}/") },
            None => Place { bucket: container.to_string(), prefix: String::new() },
        }
    }

    /// The place of a container that exists. A bucket's server tells by itself when it is missing; a prefix exists
    /// where we made it.
    async fn existing(&self, container: &Container) -> Result<Place, StoreError> {
        if self.address.bucket.is_some() && self.record(container).await?.is_none() {
            return Err(no_container(container));
        }
        Ok(self.place(container))
    }

    /// As [`Self::existing`], for an object with a good name.
    async fn place_of(&self, container: &Container, object: &str) -> Result<Place, StoreError> {
        check_name(container, object)?;
        if object.starts_with(OURS) {
            return Err(StoreError::BadName(shown(container, object)));
        }
        self.existing(container).await
    }

    fn error(&self, failure: Failure) -> StoreError {
        failure.into_error(&self.address())
    }

    fn away(&self, reason: String) -> StoreError {
        StoreError::Away { address: self.address(), reason }
    }

    /// What a failure to read an object means. Answers to HEAD do not say whether object or bucket is missing.
    async fn unread(&self, failure: Failure, container: &Container, object: &str) -> StoreError {
        if failure.no_bucket() {
            return no_container(container);
        }
        if !failure.missing() {
            return self.error(failure);
        }
        if self.address.bucket.is_some() {
            return StoreError::NoObject(shown(container, object));
        }
        match self.has_bucket(&self.place(container).bucket).await {
            Ok(true) => StoreError::NoObject(shown(container, object)),
            Ok(false) => no_container(container),
            Err(failure) => self.error(failure),
        }
    }

    /// What a failure to write an object means.
    fn unwritten(&self, failure: Failure, container: &Container, object: &str) -> StoreError {
        if failure.no_bucket() {
            no_container(container)
        } else if failure.has_code(&["KeyTooLongError"]) {
            StoreError::BadName(shown(container, object))
        } else if failure.has_code(&["BadDigest", "InvalidDigest"]) {
            let reason = "the store received another MD5".to_owned();
            StoreError::Damaged { name: shown(container, object), reason }
        } else {
            self.error(failure)
        }
    }

    async fn has_bucket(&self, bucket: &str) -> Result<bool, Failure> {
        let answer = self.client().await.head_bucket().bucket(bucket).send().await;
        match answer.map_err(Failure::from) {
            Ok(_) => Ok(true),
            Err(failure) if failure.missing() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn stream(&self, body: ByteStream) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let address = self.address();
        let away = move |reason| StoreError::Away { address: address.clone(), reason };
        stream::unfold((Some(body), away), |(body, away)| async move {
            let mut body = body?;
            match tokio::time::timeout(STALL, body.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(chunk))) => Some((Ok(chunk), (Some(body), away))),
                Ok(Some(Err(error))) => Some((Err(away(failure::chain(&error))), (None, away))),
                Err(_) => Some((Err(away(format!("nothing moved for {} s", STALL.as_secs()))), (None, away))),
            }
        })
        .boxed()
    }
}

#[async_trait]
impl Store for S3 {
    async fn ensure_container(&self, container: &Container, access: &Access) -> Result<(), StoreError> {
        self.ensure(container, access).await
    }

    async fn put(
        &self,
        container: &Container,
        object: &str,
        body: &Body,
        headers: &ContentHeaders,
    ) -> Result<(), StoreError> {
        self.upload(container, object, body, headers).await
    }

    async fn get(
        &self,
        container: &Container,
        object: &str,
        part: Option<ByteRange>,
    ) -> Result<Object, StoreError> {
        let place = self.place_of(container, object).await?;
        let request = self.client().await.get_object().bucket(&place.bucket).key(place.key(object));
        let answer = request.set_range(part.map(range::range)).send().await;
        match answer.map_err(Failure::from) {
            Ok(mut answer) => {
                let body = std::mem::take(&mut answer.body);
                let (info, part) = got(&answer).ok_or_else(|| self.away("it sent no length".to_owned()))?;
                Ok(Object { info, part, stream: self.stream(body) })
            }
            Err(Failure::Answer { status: 416, .. }) => {
                let length = self.head(container, object).await?.length;
                Err(StoreError::BadRange { length })
            }
            Err(failure) => Err(self.unread(failure, container, object).await),
        }
    }

    async fn head(&self, container: &Container, object: &str) -> Result<ObjectInfo, StoreError> {
        let place = self.place_of(container, object).await?;
        let request = self.client().await.head_object().bucket(&place.bucket).key(place.key(object));
        match request.send().await.map_err(Failure::from) {
            Ok(answer) => headed(&answer).ok_or_else(|| self.away("it sent no length".to_owned())),
            Err(failure) => Err(self.unread(failure, container, object).await),
        }
    }

    async fn list(&self, container: &Container, query: &ListQuery) -> Result<Vec<Entry>, StoreError> {
        check_query(container, query)?;
        let place = self.existing(container).await?;
        self.page(&place, query)
            .await
            .map_err(|failure| if failure.missing() { no_container(container) } else { self.error(failure) })
    }

    async fn delete(&self, container: &Container, object: &str) -> Result<(), StoreError> {
        let place = match self.place_of(container, object).await {
            Err(error) if error.is_missing() => return Ok(()),
            place => place?,
        };
        // One by one: DeleteObjects needs a checksum that Swift's S3 refuses.
        let request = self.client().await.delete_object().bucket(&place.bucket).key(place.key(object));
        match request.send().await.map_err(Failure::from) {
            Err(failure) if !failure.missing() => Err(self.error(failure)),
            _ => Ok(()),
        }
    }

    async fn is_public(&self, container: &Container) -> Result<bool, StoreError> {
        Ok(self.record(container).await? == Some(Record::Public))
    }

    async fn containers(&self, prefix: &str) -> Result<Vec<Container>, StoreError> {
        let names = match &self.address.bucket {
            Some(bucket) => self.recorded(bucket, prefix).await,
            None => self.buckets().await,
        };
        let names = names.map_err(|failure| self.error(failure))?;
        let mut containers: Vec<Container> = names
            .iter()
            .filter(|name| name.starts_with(prefix))
            .filter_map(|name| name.parse().ok())
            .collect();
        containers.sort();
        Ok(containers)
    }

    /// Asks for a bucket that need not be there: it takes fewer rights than a list of all.
    async fn check(&self) -> Result<(), StoreError> {
        let bucket = self.place(&Container::attempts()).bucket;
        self.has_bucket(&bucket).await.map(drop).map_err(|failure| self.error(failure))
    }

    fn address(&self) -> String {
        self.address.to_string()
    }
}

fn got(answer: &GetObjectOutput) -> Option<(ObjectInfo, Option<(u64, u64)>)> {
    let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
    let (part, length) = match answer.content_range().and_then(range::content_range) {
        Some(found) => found,
        None => (None, length?),
    };
    let headers = headers(answer.content_type(), answer.content_encoding());
    let modified = answer.last_modified().and_then(timestamp);
    Some((ObjectInfo { length, etag: unquoted(answer.e_tag()), modified, headers }, part))
}

fn headed(answer: &HeadObjectOutput) -> Option<ObjectInfo> {
    Some(ObjectInfo {
        length: u64::try_from(answer.content_length()?).ok()?,
        etag: unquoted(answer.e_tag()),
        modified: answer.last_modified().and_then(timestamp),
        headers: headers(answer.content_type(), answer.content_encoding()),
    })
}

fn headers(content_type: Option<&str>, content_encoding: Option<&str>) -> ContentHeaders {
    let present = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    ContentHeaders { content_type: present(content_type), content_encoding: present(content_encoding) }
}

fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

fn no_container(container: &Container) -> StoreError {
    StoreError::NoContainer(shown(container, container.as_str()))
}

#[cfg(test)]
mod tests;
