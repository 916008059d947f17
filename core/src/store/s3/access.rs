//! Who may read a container: our own record of it, and the server's rules where it has them.
//!
//! The record is written last, and once. Not every server can be told who may read (Swift's s3api knows the rules of
//! whole buckets, Garage and others none), and some must not be (AWS's public access block): there the record alone
//! holds, which the site reads, and at the store itself nobody reads but we.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{BucketCannedAcl, BucketLocationConstraint, CreateBucketConfiguration},
};
use serde_json::Value;
use tracing::{info, warn};

use super::{
    Failure, OURS, Place, S3,
    policy::{self, Reader, Scope},
};
use crate::{
    layout::Container,
    store::{Access, StoreError, shown},
};

/// How long a record is believed.
const AGE: Duration = Duration::from_secs(60);

/// How long the server is believed to know who may read a container. Policies are written whole, so that of two processes
/// one can undo what the other added, and has seen to be there.
const RULES_AGE: Duration = Duration::from_secs(600);

/// How often a policy is put again that another process overwrote.
const TRIES: usize = 5;

/// A record is shorter than this, in bytes; what is longer is none.
const MAX_RECORD: usize = 1024;

/// A container's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Public,
    Reader(String),
    Internal,
}

impl Record {
    fn of(access: &Access) -> Self {
        match access {
            Access::Public => Self::Public,
            Access::Reader(user) => Self::Reader(user.to_string()),
            Access::Internal => Self::Internal,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Public => "public\n".to_owned(),
            Self::Reader(user) => format!("reader {user}\n"),
            Self::Internal => "internal\n".to_owned(),
        }
    }

    /// What cannot be read lets nobody in.
    fn parse(bytes: &[u8]) -> Self {
        if bytes.len() > MAX_RECORD {
            return Self::Internal;
        }
        let text = String::from_utf8_lossy(bytes);
        match text.trim_end().split_once(' ') {
            None if text.trim_end() == "public" => Self::Public,
            Some(("reader", user)) => Self::Reader(user.to_owned()),
            _ => Self::Internal,
        }
    }
}

/// What the server says of a container's record.
enum Found {
    NoBucket,
    NoRecord,
    Record(Record),
}

/// The key of the only bucket below which records lie.
pub(super) fn records() -> String {
    format!("{OURS}containers/")
}

impl S3 {
    /// Makes the container, or checks its reader.
    pub(super) async fn ensure(&self, container: &Container, access: &Access) -> Result<(), StoreError> {
        if *access != Access::Public && !container.is_private() {
            return Err(self.forbidden(format!("a container named {container} is readable by everyone")));
        }
        match self.found(container).await? {
            Found::Record(record) => {
                self.check_record(container, access, &record).await?;
                if record == Record::of(access) {
                    self.tell_again(container, access).await;
                }
                return Ok(());
            }
            Found::NoBucket => self.make_bucket(container).await?,
            Found::NoRecord => self.check_unclaimed(container, access).await?,
        }
        if !self.tell_server(container, access).await? {
            info!("the object store takes no rule for a new container's readers: they read through the site");
        }
        self.write_record(container, &Record::of(access)).await?;
        // Another process may have made it first, for another reader.
        match self.found(container).await? {
            Found::Record(record) => self.check_record(container, access, &record).await,
            _ => Err(self.away("a container that was made cannot be seen yet".to_owned())),
        }
    }

    /// The record of a container, none where it does not exist. Only what exists is kept: others could be asked for
    /// without end, and may be made at any moment.
    pub(super) async fn record(&self, container: &Container) -> Result<Option<Record>, StoreError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(container).cloned();
        if let Some((_, record)) = known.filter(|(since, _)| since.elapsed() < AGE) {
            return Ok(Some(record));
        }
        match self.found(container).await? {
            Found::Record(record) => Ok(Some(record)),
            _ => Ok(None),
        }
    }

    async fn found(&self, container: &Container) -> Result<Found, StoreError> {
        let (bucket, key) = self.record_place(container);
        let answer = self.client().await.get_object().bucket(bucket).key(key).send().await;
        let record = match answer.map_err(Failure::from) {
            Ok(answer) => {
                let mut bytes = Vec::new();
                let mut body = answer.body;
                while bytes.len() <= MAX_RECORD
                    && let Some(chunk) = body.next().await
                {
                    bytes.extend_from_slice(&chunk.map_err(|e| self.away(e.to_string()))?);
                }
                Record::parse(&bytes)
            }
            Err(failure) if failure.no_bucket() => return Ok(Found::NoBucket),
            Err(failure) if failure.missing() => return Ok(Found::NoRecord),
            Err(failure) => return Err(self.error(failure)),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(container.clone(), (Instant::now(), record.clone()));
        Ok(Found::Record(record))
    }

    fn record_place(&self, container: &Container) -> (String, String) {
        match &self.address.bucket {
            Some(bucket) => (bucket.clone(), format!("{}{container}", records())),
            None => (container.to_string(), format!("{OURS}access")),
        }
    }

    async fn check_record(
        &self,
        container: &Container,
        access: &Access,
        record: &Record,
    ) -> Result<(), StoreError> {
        match access {
            Access::Public => return Ok(()),
            Access::Reader(_) if *record != Record::of(access) => {
                return Err(other_reader(container, access));
            }
            Access::Internal if *record == Record::Public => return Err(self.open(container)),
            _ => {}
        }
        if self.is_open(&self.place(container)).await? { Err(self.open(container)) } else { Ok(()) }
    }

    /// A bucket that somebody else made becomes ours for everybody, or while it is empty.
    async fn check_unclaimed(&self, container: &Container, access: &Access) -> Result<(), StoreError> {
        if *access == Access::Public || self.address.bucket.is_some() {
            return Ok(());
        }
        let answer =
            self.client().await.list_objects_v2().bucket(container.as_str()).max_keys(1).send().await;
        let answer = answer.map_err(|e| self.error(e.into()))?;
        if answer.contents().is_empty() { Ok(()) } else { Err(other_reader(container, access)) }
    }

    async fn make_bucket(&self, container: &Container) -> Result<(), StoreError> {
        let bucket = self.place(container).bucket;
        let client = self.client().await;
        let region = client.config().region().map(ToString::to_string);
        let place = region.filter(|name| name != "us-east-1").map(|name| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(name.as_str()))
                .build()
        });
        let request = client.create_bucket().bucket(bucket).set_create_bucket_configuration(place);
        match request.send().await.map_err(Failure::from) {
            Err(failure) if failure.has_code(&["InvalidBucketName"]) => Err(StoreError::Configuration(
                "the store allows no bucket with a container's name: s3://bucket?… keeps all containers in one".to_owned(),
            )),
            Err(failure) if !failure.has_code(&["BucketAlreadyOwnedByYou"]) => Err(self.error(failure)),
            _ => Ok(()),
        }
    }

    /// Adds what another process undid. What was made can be used without: the site lets its readers in.
    async fn tell_again(&self, container: &Container, access: &Access) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).get(container).copied();
        if told.is_some_and(|since| since.elapsed() < RULES_AGE) {
            return;
        }
        if let Err(error) = self.tell_server(container, access).await {
            warn!(%error, "the rules for a container's readers could not be looked at in the object store");
        }
    }

    /// Lets the readers in at the server. False where it has no such rules, or does not let us make them.
    async fn tell_server(&self, container: &Container, access: &Access) -> Result<bool, StoreError> {
        // Once for a while, whatever comes of it.
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(container.clone(), Instant::now());
        let place = self.place(container);
        let told = match access {
            Access::Internal => true,
            Access::Reader(user) => self.add_rule(&place, &Reader::User(user.as_str())).await?,
            Access::Public => {
                let place = Place { prefix: public_prefix(&place.prefix), ..place };
                self.add_rule(&place, &Reader::Anyone).await? || self.open_bucket(&place).await?
            }
        };
        if *access != Access::Public && self.is_open(&self.place(container)).await? {
            return Err(self.open(container));
        }
        Ok(told)
    }

    /// Adds a rule to the bucket's policy. False where the server has no policies, or we may not change them.
    async fn add_rule(&self, place: &Place, reader: &Reader<'_>) -> Result<bool, StoreError> {
        let scope = Scope { bucket: &place.bucket, prefix: &place.prefix };
        for _ in 0..TRIES {
            let Some(found) = self.policy(&place.bucket).await? else {
                return Ok(false);
            };
            let Some(policy) = policy::with_reader(found, &scope, reader) else {
                return Ok(true);
            };
            let request = self.client().await.put_bucket_policy().bucket(&place.bucket);
            match request.policy(policy.to_string()).send().await.map_err(Failure::from) {
                // The answer names the user, who belongs to a private run.
                Err(failure) if failure.has_code(&["MalformedPolicy", "InvalidPrincipal"]) => {
                    let reason = "the store does not know the user who may read a container".to_owned();
                    return Err(StoreError::Configuration(reason));
                }
                Err(failure) if failure.cannot() => return Ok(false),
                done => done.map(drop).map_err(|failure| self.error(failure))?,
            }
        }
        Err(self.away("the bucket's policy keeps changing".to_owned()))
    }

    /// The bucket's policy, where it has one. None where the server has no policies, or we may not see them.
    async fn policy(&self, bucket: &str) -> Result<Option<Option<Value>>, StoreError> {
        let answer = self.client().await.get_bucket_policy().bucket(bucket).send().await;
        match answer.map_err(Failure::from) {
            Ok(answer) => match answer.policy().map(serde_json::from_str) {
                None => Ok(Some(None)),
                Some(Ok(policy)) => Ok(Some(Some(policy))),
                Some(Err(_)) => Err(self.away("the bucket's policy cannot be read".to_owned())),
            },
            Err(failure) if failure.cannot() => Ok(None),
            Err(failure) if failure.missing() => Ok(Some(None)),
            Err(failure) => Err(self.error(failure)),
        }
    }

    /// Swift's way, for a whole bucket.
    async fn open_bucket(&self, place: &Place) -> Result<bool, StoreError> {
        if self.address.bucket.is_some() {
            return Ok(false);
        }
        let request =
            self.client().await.put_bucket_acl().bucket(&place.bucket).acl(BucketCannedAcl::PublicRead);
        match request.send().await.map_err(Failure::from) {
            Ok(_) => Ok(true),
            // AWS's buckets take no access lists unless they are told to: 400.
            Err(failure) if failure.cannot() || failure.has_code(&["AccessControlListNotSupported"]) => {
                Ok(false)
            }
            Err(failure) => Err(self.error(failure)),
        }
    }

    /// True where the server lets anyone read or list something at a private place.
    async fn is_open(&self, place: &Place) -> Result<bool, StoreError> {
        let scope = Scope { bucket: &place.bucket, prefix: &place.prefix };
        if let Some(Some(policy)) = self.policy(&place.bucket).await?
            && policy::is_open(&policy, &scope)
        {
            return Ok(true);
        }
        let answer = self.client().await.get_bucket_acl().bucket(&place.bucket).send().await;
        match answer.map_err(Failure::from) {
            Ok(answer) => {
                let uris = answer.grants().iter().filter_map(|grant| grant.grantee()?.uri());
                Ok(uris
                    .into_iter()
                    .any(|uri| uri.ends_with("/AllUsers") || uri.ends_with("/AuthenticatedUsers")))
            }
            Err(failure) if failure.cannot() => Ok(false),
            Err(failure) => Err(self.error(failure)),
        }
    }

    async fn write_record(&self, container: &Container, record: &Record) -> Result<(), StoreError> {
        let write = async |only_new: bool| {
            let (bucket, key) = self.record_place(container);
            let request = self.client().await.put_object().bucket(bucket).key(key);
            let request =
                request.content_type("text/plain").body(ByteStream::from(record.text().into_bytes()));
            let request = request.set_if_none_match(only_new.then(|| "*".to_owned()));
            request.send().await.map(drop).map_err(Failure::from)
        };
        let written = match write(true).await {
            // A server that does not know the condition.
            Err(Failure::Answer { status: 501, .. }) => write(false).await,
            written => written,
        };
        match written {
            Err(failure) if !failure.has_code(&["PreconditionFailed", "ConditionalRequestConflict"]) => {
                Err(self.error(failure))
            }
            _ => Ok(()),
        }
    }

    fn open(&self, container: &Container) -> StoreError {
        self.forbidden(format!("container {} is readable by everyone", shown(container, container.as_str())))
    }

    fn forbidden(&self, reason: String) -> StoreError {
        StoreError::Forbidden { address: self.address.to_string(), reason }
    }
}

/// All containers of results begin so, and no private one: one rule is enough for them, and policies are short
/// (20 KB in AWS).
const RESULTS: &str = "autopkgtest-";

fn public_prefix(prefix: &str) -> String {
    if prefix.starts_with(RESULTS) { RESULTS.to_owned() } else { prefix.to_owned() }
}

fn other_reader(container: &Container, access: &Access) -> StoreError {
    let reader = match access {
        Access::Reader(user) => user.to_string(),
        _ => String::new(),
    };
    StoreError::OtherReader { container: container.to_string(), reader }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back() {
        for record in [Record::Public, Record::Internal, Record::Reader("adt:reader".to_owned())] {
            assert_eq!(Record::parse(record.text().as_bytes()), record);
        }
        for strange in ["", "Public", "public x", "reader", "\u{fffd}"] {
            assert_eq!(Record::parse(strange.as_bytes()), Record::Internal, "{strange:?}");
        }
    }

    #[test]
    fn one_rule_for_all_results() {
        for (prefix, of_rule) in [
            ("autopkgtest-noble/", "autopkgtest-"),
            ("autopkgtest-noble-o-p/", "autopkgtest-"),
            ("other/", "other/"),
            ("", ""),
        ] {
            assert_eq!(public_prefix(prefix), of_rule);
        }
    }
}
