//! OpenStack Swift, and what speaks its API (Ceph's radosgw).
//!
//! Facts: contract "Results", and Swift's API reference. Who writes must own the account: others can make no container, and
//! do not see who may read one. Who reads needs to be let in by the containers' rules.

mod http;
mod keystone;
mod login;
mod parse;
mod upload;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use reqwest::{
    Client, Method, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, RANGE},
};
use url::Url;

pub(super) use self::parse::{containers, listing};
use self::{
    http::{Ask, refusal},
    login::{Identity, Login},
    parse::READ_ACL,
    upload::Upload,
};
use super::{
    Access, Body, ByteRange, ContentHeaders, Entry, ListQuery, MAX_PAGE, Object, ObjectInfo, Store,
    StoreError, check_name, check_query, range, shown,
};
use crate::{layout::Container, tls::Authorities};

/// How long a container's access rule is believed.
const ACCESS_AGE: Duration = Duration::from_secs(60);

/// The access rule of a public container.
const PUBLIC: &str = ".rlistings,.r:*";

/// A store in Swift. It has no `Debug`: it holds secrets.
pub struct Swift {
    address: String,
    client: Client,
    identity: Identity,
    /// Whether existing containers are public, and since when we know.
    access: Mutex<HashMap<Container, (Instant, bool)>>,
}

impl Swift {
    /// The store behind an authentication URL, with credentials from variables `OS_…` or `ST_…`. It logs in when first
    /// used.
    pub fn new(
        auth_url: Url,
        variable: &dyn Fn(&str) -> Option<String>,
        authorities: &Authorities,
    ) -> Result<Self, StoreError> {
        let address = format!("swift+{auth_url}");
        let login = Login::new(auth_url, variable, authorities)?;
        let client = http::client(login.cacert(), authorities)?;
        let identity = Identity::new(login, address.clone(), client.clone());
        Ok(Self { address, client, identity, access: Mutex::default() })
    }

    /// A container's access rule; none where it does not exist.
    async fn read_acl(&self, container: &Container) -> Result<Option<String>, StoreError> {
        let response = self.send(&Ask::new(Method::HEAD, Some(container), None)).await?;
        match response.status() {
            status if status.is_success() => {
                Ok(Some(parse::text(response.headers(), &READ_ACL).unwrap_or_default()))
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(refusal(&self.address, status)),
        }
    }

    async fn create(&self, container: &Container, access: &Access) -> Result<(), StoreError> {
        let mut ask = Ask::new(Method::PUT, Some(container), None);
        let acl = match access {
            Access::Public => Some(PUBLIC.to_owned()),
            Access::Reader(user) => Some(format!("*:{user}")),
            Access::Internal => None,
        };
        // With the request that makes it: there is no moment at which it exists with another rule.
        if let Some(acl) = acl {
            ask.headers.insert(READ_ACL, header(&acl)?);
        }
        let response = self.send(&ask).await?;
        if response.status().is_success() { Ok(()) } else { Err(refusal(&self.address, response.status())) }
    }

    fn check_access(&self, container: &Container, access: &Access, acl: &str) -> Result<(), StoreError> {
        match access {
            Access::Reader(user) if !parse::names_only(acl, user.as_str()) => {
                Err(StoreError::OtherReader { container: container.to_string(), reader: user.to_string() })
            }
            Access::Internal if parse::is_open(acl) => Err(StoreError::Forbidden {
                address: self.address.clone(),
                reason: format!("container {} is readable by everyone", shown(container, container.as_str())),
            }),
            _ => Ok(()),
        }
    }

    /// What a 404 for an object means: Swift's answer is the same for a missing container.
    async fn missing(&self, container: &Container, object: &str) -> StoreError {
        match self.read_acl(container).await {
            Ok(None) => no_container(container),
            Ok(Some(_)) => StoreError::NoObject(shown(container, object)),
            Err(error) => error,
        }
    }

    /// GET or HEAD of an object.
    async fn read(&self, ask: &Ask<'_>, container: &Container, object: &str) -> Result<Response, StoreError> {
        let response = self.send(ask).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => Err(self.missing(container, object).await),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let length = parse::object(response.headers()).map_or(0, |(info, _)| info.length);
                Err(StoreError::BadRange { length })
            }
            status => Err(refusal(&self.address, status)),
        }
    }

    fn unreadable(&self, what: &str) -> StoreError {
        self.away(format!("its answer cannot be read: {what}"))
    }
}

#[async_trait]
impl Store for Swift {
    async fn ensure_container(&self, container: &Container, access: &Access) -> Result<(), StoreError> {
        if self.read_acl(container).await?.is_none() {
            self.create(container, access).await?;
        }
        // Read back also where we made it: another process may have made it first, for another reader.
        match self.read_acl(container).await? {
            Some(acl) => self.check_access(container, access, &acl),
            None => Err(self.away("a container that was made cannot be seen yet".to_owned())),
        }
    }

    async fn put(
        &self,
        container: &Container,
        object: &str,
        body: &Body,
        headers: &ContentHeaders,
    ) -> Result<(), StoreError> {
        check_name(container, object)?;
        let upload = Upload::new(body).await?;
        let mut ask = Ask::new(Method::PUT, Some(container), Some(object));
        for (name, value) in
            [(CONTENT_TYPE, &headers.content_type), (CONTENT_ENCODING, &headers.content_encoding)]
        {
            if let Some(value) = value {
                ask.headers.insert(name, header(value)?);
            }
        }
        ask.upload = Some(&upload);
        let response = self.send(&ask).await?;
        let damaged = |reason: String| StoreError::Damaged { name: shown(container, object), reason };
        match response.status() {
            status if status.is_success() => {
                let stored = parse::text(response.headers(), &ETAG).map(|etag| parse::unquoted(&etag));
                match stored {
                    Some(etag) if etag != upload.md5 => {
                        Err(damaged(format!("MD5 {} became {etag}", upload.md5)))
                    }
                    _ => Ok(()), // the sum was sent: what came without one was compared by the store
                }
            }
            StatusCode::UNPROCESSABLE_ENTITY => Err(damaged("the store received another MD5".to_owned())),
            StatusCode::NOT_FOUND => Err(no_container(container)),
            status => Err(refusal(&self.address, status)),
        }
    }

    async fn get(
        &self,
        container: &Container,
        object: &str,
        range: Option<ByteRange>,
    ) -> Result<Object, StoreError> {
        check_name(container, object)?;
        let mut ask = Ask::new(Method::GET, Some(container), Some(object));
        if let Some(range) = range {
            ask.headers.insert(RANGE, header(&range::range(range))?);
        }
        let response = self.read(&ask, container, object).await?;
        let (info, part) =
            parse::object(response.headers()).ok_or_else(|| self.unreadable("no Content-Length"))?;
        Ok(Object { info, part, stream: self.stream(response) })
    }

    async fn head(&self, container: &Container, object: &str) -> Result<ObjectInfo, StoreError> {
        check_name(container, object)?;
        let ask = Ask::new(Method::HEAD, Some(container), Some(object));
        let response = self.read(&ask, container, object).await?;
        let (info, _) =
            parse::object(response.headers()).ok_or_else(|| self.unreadable("no Content-Length"))?;
        Ok(info)
    }

    async fn list(&self, container: &Container, query: &ListQuery) -> Result<Vec<Entry>, StoreError> {
        check_query(container, query)?;
        let mut ask = Ask::new(Method::GET, Some(container), None);
        ask.query = vec![
            ("format", "json".to_owned()),
            ("limit", query.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE).to_string()),
            ("prefix", query.prefix.clone()),
            ("marker", query.marker.clone()),
        ];
        ask.query.extend(query.delimiter.clone().map(|delimiter| ("delimiter", delimiter)));
        let response = self.send(&ask).await?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND => return Err(no_container(container)),
            status => return Err(refusal(&self.address, status)),
        }
        let json = self.text(response).await?;
        parse::listing(&json, query).ok_or_else(|| self.unreadable("no listing of what was asked for"))
    }

    async fn delete(&self, container: &Container, object: &str) -> Result<(), StoreError> {
        check_name(container, object)?;
        let response = self.send(&Ask::new(Method::DELETE, Some(container), Some(object))).await?;
        match response.status() {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
            status => Err(refusal(&self.address, status)),
        }
    }

    async fn is_public(&self, container: &Container) -> Result<bool, StoreError> {
        let known = self.access.lock().unwrap_or_else(PoisonError::into_inner).get(container).copied();
        if let Some((_, public)) = known.filter(|(since, _)| since.elapsed() < ACCESS_AGE) {
            return Ok(public);
        }
        // Only what exists is kept: others could be asked for without end, and may be made at any moment.
        let public = match self.read_acl(container).await? {
            None => return Ok(false),
            // Only the account's owner is shown the rule.
            Some(acl) if acl.is_empty() => self.is_open_to_all(container).await?,
            Some(acl) => parse::is_public(&acl),
        };
        let mut access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        access.insert(container.clone(), (Instant::now(), public));
        Ok(public)
    }

    async fn containers(&self, prefix: &str) -> Result<Vec<Container>, StoreError> {
        let (mut containers, mut marker) = (Vec::new(), String::new());
        loop {
            let mut ask = Ask::new(Method::GET, None, None);
            ask.query = vec![
                ("format", "json".to_owned()),
                ("prefix", prefix.to_owned()),
                ("marker", marker.clone()),
            ];
            let response = self.send(&ask).await?;
            if !response.status().is_success() {
                return Err(refusal(&self.address, response.status()));
            }
            let names = parse::containers(&self.text(response).await?)
                .map_err(|_| self.unreadable("no list of containers"))?;
            // By marker until it is empty: an account's pages may be shorter than those of a container.
            let Some(last) = names.last() else {
                return Ok(containers);
            };
            if *last <= marker {
                return Err(self.unreadable("a list of containers that does not go on"));
            }
            marker.clone_from(last);
            containers.extend(names.iter().filter_map(|name| name.parse::<Container>().ok()));
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        let response = self.send(&Ask::new(Method::HEAD, None, None)).await?;
        match response.status() {
            status if status.is_success() => Ok(()),
            // A user who may read some containers and does not own the account: the store is there.
            StatusCode::FORBIDDEN => Ok(()),
            status => Err(refusal(&self.address, status)),
        }
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

fn no_container(container: &Container) -> StoreError {
    StoreError::NoContainer(shown(container, container.as_str()))
}

fn header(text: &str) -> Result<HeaderValue, StoreError> {
    HeaderValue::from_str(text).map_err(|_| {
        StoreError::Configuration("a header's value has characters that HTTP forbids".to_owned())
    })
}

#[cfg(test)]
mod tests;
