//! Listings, as stores answer them.

use proofhouse_core::{
    layout::Container,
    store::{Entry, ListQuery, untrusted},
};
use tokio::runtime::{Builder, Runtime};

use crate::choice;

thread_local!(static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime"));

/// Swift's JSON is a listing of what was asked for, or none.
pub(crate) fn swift(data: &[u8]) {
    let (how, data) = choice(data);
    let query = query(how);
    let listing = untrusted::swift_listing(data, &query).unwrap_or_default();
    check(&listing, &query);
    for entry in &listing {
        if let Entry::Object { modified: Some(time), .. } = entry {
            assert!(!time.to_string().is_empty());
        }
    }
    let names = untrusted::swift_containers(data).unwrap_or_default();
    assert!(names.len() <= data.len());
}

fn query(how: u8) -> ListQuery {
    let delimiter = [None, Some("@"), Some("/"), Some("@/")][usize::from(how % 4)].map(str::to_owned);
    let marker = ["", "a", "noble/amd64/g/green/20260101_000000_aaaaa@"][usize::from(how / 4 % 3)].to_owned();
    let limit = [None, Some(3)][usize::from(how / 16 % 2)];
    let prefix = ["", "noble/"][usize::from(how / 32 % 2)].to_owned();
    ListQuery { prefix, delimiter, marker, limit }
}

fn check(listing: &[Entry], query: &ListQuery) {
    assert!(listing.iter().all(|entry| entry.name().starts_with(&query.prefix)));
    let objects = listing.iter().filter(|entry| matches!(entry, Entry::Object { .. }));
    objects.for_each(|entry| assert!(entry.name() > query.marker.as_str()));
}

/// S3's XML, in answers between bytes 0xff: a listing that ends, of names that were asked for, or an error.
pub(crate) fn s3(data: &[u8]) {
    let (how, data) = choice(data);
    let answers: Vec<Vec<u8>> = data.split(|byte| *byte == 0xff).take(8).map(<[u8]>::to_owned).collect();
    let query = query(how);
    let container: Container = "autopkgtest-noble".parse().expect("a container");
    let listing =
        RUNTIME.with(|runtime| runtime.block_on(untrusted::s3_listing(answers, &container, &query)));
    if let Ok(listing) = listing {
        check(&listing, &query);
        assert!(listing.len() <= query.limit.unwrap_or(usize::MAX));
        assert!(listing.iter().all(|entry| !entry.name().starts_with(".proofhouse/")));
    }
}
