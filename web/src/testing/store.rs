//! A store in memory.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use proofhouse_core::{
    layout::Container,
    store::{
        Access, Body, ByteRange, ContentHeaders, Entry, ListQuery, MAX_PAGE, Object, ObjectInfo, Store,
        StoreError,
    },
};
use sha2::{Digest, Sha256};

type Objects = BTreeMap<String, (Bytes, ContentHeaders)>;

#[derive(Default)]
pub(crate) struct TestStore {
    containers: Mutex<BTreeMap<String, Objects>>,
    /// Every call fails.
    pub(crate) away: AtomicBool,
}

impl TestStore {
    /// Stores an object; makes the container.
    pub(crate) fn add(&self, container: &str, object: &str, bytes: &[u8]) {
        let file = object.rsplit('/').next().unwrap();
        let value = (Bytes::copy_from_slice(bytes), ContentHeaders::of(file));
        let mut containers = self.containers.lock().unwrap();
        containers.entry(container.to_owned()).or_default().insert(object.to_owned(), value);
    }

    /// Makes a container with nothing in it.
    pub(crate) fn add_container(&self, container: &str) {
        self.containers.lock().unwrap().entry(container.to_owned()).or_default();
    }

    fn here(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(StoreError::Away { address: "memory:".into(), reason: "it is a test".into() });
        }
        Ok(())
    }

    fn find(&self, container: &Container, object: &str) -> Result<(Bytes, ObjectInfo), StoreError> {
        self.here()?;
        let containers = self.containers.lock().unwrap();
        let objects = containers
            .get(container.as_str())
            .ok_or_else(|| StoreError::NoContainer(container.to_string()))?;
        let (bytes, headers) = objects.get(object).ok_or_else(|| StoreError::NoObject(object.to_owned()))?;
        let info = ObjectInfo {
            length: bytes.len() as u64,
            etag: hex::encode(&Sha256::digest(bytes)[..16]),
            modified: Some("2026-11-21T05:36:34Z".parse().unwrap()),
            headers: headers.clone(),
        };
        Ok((bytes.clone(), info))
    }
}

fn entry(name: &str, query: &ListQuery, info: ObjectInfo) -> Entry {
    let rest = &name[query.prefix.len()..];
    match query.delimiter.as_deref().and_then(|d| rest.split_once(d).map(|(head, _)| (head, d))) {
        Some((head, d)) => Entry::Prefix(format!("{}{head}{d}", query.prefix)),
        None => Entry::Object {
            name: name.to_owned(),
            length: info.length,
            etag: info.etag,
            modified: info.modified,
            content_type: info.headers.content_type.unwrap_or_default(),
        },
    }
}

#[async_trait]
impl Store for TestStore {
    async fn ensure_container(&self, container: &Container, _: &Access) -> Result<(), StoreError> {
        self.add_container(container.as_str());
        Ok(())
    }

    async fn put(
        &self,
        container: &Container,
        object: &str,
        body: &Body,
        _: &ContentHeaders,
    ) -> Result<(), StoreError> {
        let Body::Bytes(bytes) = body else { unreachable!("tests store bytes") };
        self.add(container.as_str(), object, bytes);
        Ok(())
    }

    async fn get(
        &self,
        container: &Container,
        object: &str,
        range: Option<ByteRange>,
    ) -> Result<Object, StoreError> {
        let (bytes, info) = self.find(container, object)?;
        let part = range.map(|r| r.within(info.length).expect("the site asks for parts that are there"));
        let bytes = match part {
            Some((first, last)) => {
                bytes.slice(usize::try_from(first).unwrap()..=usize::try_from(last).unwrap())
            }
            None => bytes,
        };
        let chunks: Vec<_> = bytes.chunks(1000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        Ok(Object { info, part, stream: stream::iter(chunks).boxed() })
    }

    async fn head(&self, container: &Container, object: &str) -> Result<ObjectInfo, StoreError> {
        Ok(self.find(container, object)?.1)
    }

    async fn list(&self, container: &Container, query: &ListQuery) -> Result<Vec<Entry>, StoreError> {
        self.here()?;
        let names: Vec<String> = match self.containers.lock().unwrap().get(container.as_str()) {
            Some(objects) => objects.keys().cloned().collect(),
            None => return Err(StoreError::NoContainer(container.to_string())),
        };
        let mut entries: Vec<Entry> = Vec::new();
        for name in names.iter().filter(|n| n.starts_with(&query.prefix) && **n > query.marker) {
            let entry = entry(name, query, self.find(container, name)?.1);
            if entries.last() != Some(&entry) && entry.name() != query.marker {
                entries.push(entry);
            }
        }
        entries.truncate(query.limit.unwrap_or(MAX_PAGE));
        Ok(entries)
    }

    async fn delete(&self, _: &Container, _: &str) -> Result<(), StoreError> {
        unreachable!("the site deletes nothing")
    }

    async fn is_public(&self, container: &Container) -> Result<bool, StoreError> {
        self.here()?;
        Ok(!container.is_private() && self.containers.lock().unwrap().contains_key(container.as_str()))
    }

    async fn containers(&self, prefix: &str) -> Result<Vec<Container>, StoreError> {
        self.here()?;
        let containers = self.containers.lock().unwrap();
        Ok(containers
            .keys()
            .filter(|name| name.starts_with(prefix))
            .map(|name| name.parse().unwrap())
            .collect())
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.here()
    }

    fn address(&self) -> String {
        "memory:".to_owned()
    }
}
