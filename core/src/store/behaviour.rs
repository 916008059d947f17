//! What every store must do, tried out on a real one. Black-box tests call [`check`] with theirs.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Access, Body, ByteRange, ContentHeaders, Entry, ListQuery, Store, StoreError, delete_prefix, listing,
};
use crate::layout::{Container, file};

/// How long a listing may lag behind.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tries everything on containers of its own, which are named after `mark` (letters and digits, new each time), with
/// `many` objects in the largest. Objects are deleted again, containers stay.
///
/// # Panics
/// Where the store does not do what it must.
pub async fn check(store: &dyn Store, mark: &str, many: usize) {
    store.check().await.expect("a sign of life");
    let public: Container = format!("autopkgtest-{mark}").parse().expect("a mark that fits a name");
    missing_container(store, &public).await;
    for _ in 0..2 {
        store.ensure_container(&public, &Access::Public).await.expect("made, then found");
    }
    assert!(store.is_public(&public).await.unwrap());
    objects(store, &public).await;
    ranges(store, &public).await;
    from_a_file(store, &public).await;
    bad_names(store, &public).await;
    listings(store, &public).await;
    pages(store, &public, many).await;
    private_containers(store, mark).await;
    containers(store, mark).await;
    delete_prefix(store, &public, "").await.unwrap();
    eventually(store, &public, &ListQuery::default(), &[]).await;
}

async fn missing_container(store: &dyn Store, container: &Container) {
    let query = ListQuery::default();
    assert!(!store.is_public(container).await.unwrap());
    let no_container = |error: StoreError| {
        assert!(matches!(&error, StoreError::NoContainer(name) if name == container.as_str()), "{error}");
    };
    no_container(put(store, container, "a/b", "x").await.unwrap_err());
    no_container(store.list(container, &query).await.unwrap_err());
    no_container(store.head(container, "a/b").await.unwrap_err());
    no_container(store.get(container, "a/b", None).await.err().unwrap());
    store.delete(container, "a/b").await.unwrap();
    delete_prefix(store, container, "a/").await.unwrap();
}

async fn objects(store: &dyn Store, container: &Container) {
    let name = "noble/amd64/h/hello/20260101_000000_aaaaa@/log.gz";
    let missing = store.head(container, name).await.unwrap_err();
    assert!(matches!(&missing, StoreError::NoObject(object) if object == name), "{missing}");
    assert!(store.get(container, name, None).await.err().unwrap().is_missing());
    let mut etags = Vec::new();
    for text in ["first", "second, and longer", ""] {
        put(store, container, name, text).await.unwrap();
        assert_eq!(read(store, container, name, None).await.unwrap(), text);
        let info = store.head(container, name).await.unwrap();
        assert_eq!(info.length, text.len() as u64);
        assert_eq!(info.headers, ContentHeaders::of(file::LOG));
        assert!(info.modified.is_some() && !info.etag.is_empty() && !info.etag.contains('"'));
        assert_eq!(store.get(container, name, None).await.unwrap().info, info);
        assert!(!etags.contains(&info.etag), "other bytes, other tag");
        etags.push(info.etag);
    }
    // Neither a folder nor the beginning of a name is an object.
    for near in ["noble/amd64/h/hello/20260101_000000_aaaaa@", "noble", "noble/amd64/h/hello/2026"] {
        let error = store.get(container, near, None).await.err().unwrap();
        assert!(matches!(error, StoreError::NoObject(_)), "{near}: {error}");
    }
    for _ in 0..2 {
        store.delete(container, name).await.unwrap();
        assert!(matches!(store.head(container, name).await, Err(StoreError::NoObject(_))));
    }
    let strange = "noble/c++ ä/%2e%2e/a?b#c&d=e/'\"/\\/20260101@";
    put(store, container, strange, "strange").await.unwrap();
    assert_eq!(read(store, container, strange, None).await.unwrap(), "strange");
    let found = ListQuery { prefix: strange.into(), ..ListQuery::default() };
    eventually(store, container, &found, &[strange]).await;
    store.delete(container, strange).await.unwrap();
}

async fn ranges(store: &dyn Store, container: &Container) {
    let name = "ranges/log.gz";
    put(store, container, name, "0123456789").await.unwrap();
    for (range, text, part) in [
        (ByteRange::From(0, Some(0)), "0", (0, 0)),
        (ByteRange::From(2, Some(4)), "234", (2, 4)),
        (ByteRange::From(7, None), "789", (7, 9)),
        (ByteRange::From(7, Some(99)), "789", (7, 9)),
        (ByteRange::Last(3), "789", (7, 9)),
        (ByteRange::Last(99), "0123456789", (0, 9)),
    ] {
        let object = store.get(container, name, Some(range)).await.unwrap();
        assert_eq!((object.part, object.info.length), (Some(part), 10), "{range:?}");
        assert_eq!(object.bytes(10).await.unwrap(), text, "{range:?}");
    }
    for range in [ByteRange::From(10, None), ByteRange::From(20, Some(30))] {
        let error = store.get(container, name, Some(range)).await.err().unwrap();
        assert!(matches!(error, StoreError::BadRange { length: 10 }), "{range:?}: {error}");
    }
    store.delete(container, name).await.unwrap();
}

async fn from_a_file(store: &dyn Store, container: &Container) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("artifacts");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    tokio::fs::write(&path, &bytes).await.unwrap();
    let (name, body) = ("file/artifacts.tar.gz", Body::File(path));
    let headers = ContentHeaders::of(file::ARTIFACTS);
    for _ in 0..2 {
        store.put(container, name, &body, &headers).await.expect("read anew each time");
    }
    let object = store.get(container, name, None).await.unwrap();
    assert_eq!(object.info.headers, headers);
    assert!(object.bytes(3_000_000).await.unwrap() == bytes, "other bytes came back");
    let cut = store.get(container, name, None).await.unwrap().bytes(1000).await;
    assert!(matches!(cut, Err(StoreError::TooLarge { limit: 1000 })));
    store.delete(container, name).await.unwrap();
    let gone = Body::File(folder.path().join("gone"));
    let error = store.put(container, name, &gone, &headers).await.unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(matches!(store.head(container, name).await, Err(StoreError::NoObject(_))));
}

async fn bad_names(store: &dyn Store, container: &Container) {
    let long = "x/".repeat(600) + "x";
    for name in ["", "/", "/a", "a/", "a//b", ".", "..", "../x", "a/../../x", "a/./b", "a\0b", &long] {
        let bad = |error: StoreError| assert!(matches!(error, StoreError::BadName(_)), "{name:?}: {error}");
        bad(put(store, container, name, "x").await.unwrap_err());
        bad(store.get(container, name, None).await.err().unwrap());
        bad(store.head(container, name).await.unwrap_err());
        bad(store.delete(container, name).await.unwrap_err());
    }
    for prefix in ["..", "../", "/", "//", "./", "a//", "/etc/"] {
        let query = ListQuery { prefix: prefix.into(), ..ListQuery::default() };
        assert_eq!(store.list(container, &query).await.unwrap(), [], "{prefix:?}");
    }
    let query = ListQuery { prefix: "a\0".into(), ..ListQuery::default() };
    assert!(matches!(store.list(container, &query).await, Err(StoreError::BadName(_))));
}

/// Every store against the same model of Swift's rules, and so against each other.
async fn listings(store: &dyn Store, container: &Container) {
    let mut names: Vec<String> =
        ["a.x", "a/b", "a/c@/d", "a/c@/e", "a0", "b/@@/x", "b/é/ü", "b/é@x", "c", "libé/z"]
            .map(str::to_owned)
            .into();
    for run in ["20260101_000000@", "20260102_000000_bbbbb@", "20260103_000000_ccccc@"] {
        names.extend([file::LOG, file::RESULT].map(|file| format!("noble/amd64/h/hello/{run}/{file}")));
    }
    fill(store, container, &names).await;
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    eventually(store, container, &ListQuery::default(), &all).await;
    for query in queries() {
        let page = store.list(container, &query).await.unwrap();
        assert_eq!(rows(&page), listing::model(all.iter().copied(), &query), "{query:?}");
    }
    let one = ListQuery { prefix: "a/c@/d".into(), ..ListQuery::default() };
    let page = store.list(container, &one).await.unwrap();
    let [Entry::Object { length: 6, etag, modified: Some(_), content_type, .. }] = page.as_slice() else {
        panic!("{page:?}");
    };
    assert_eq!(*etag, store.head(container, "a/c@/d").await.unwrap().etag);
    assert_eq!(*content_type, ContentHeaders::of("d").content_type.unwrap());
    delete_prefix(store, container, "").await.unwrap();
    eventually(store, container, &ListQuery::default(), &[]).await;
}

/// What britney and others ask for, and much that they do not.
fn queries() -> Vec<ListQuery> {
    let folder = "noble/amd64/h/hello/";
    let run = "noble/amd64/h/hello/20260102_000000_bbbbb@";
    let between = format!("{run}/m");
    let mut queries = Vec::new();
    for prefix in ["", "a", "a/", "a/c@", "a/c@/", "b/", "b/é", "lib", "nothing/", folder, run] {
        for delimiter in [None, Some(""), Some("/"), Some("@"), Some("@/"), Some("@@"), Some("é")] {
            for marker in ["", "a/", "a/c@", "a/c@/d", "b/@", "b/@@", "c", folder, run, between.as_str(), "~"]
            {
                for limit in [None, Some(0), Some(1), Some(3), Some(1_000_000)] {
                    let (prefix, marker) = (prefix.to_owned(), marker.to_owned());
                    queries.push(ListQuery {
                        prefix,
                        delimiter: delimiter.map(str::to_owned),
                        marker,
                        limit,
                    });
                }
            }
        }
    }
    queries
}

/// A package with many runs, read page by page as britney reads it.
async fn pages(store: &dyn Store, container: &Container, many: usize) {
    let folder = "noble/amd64/libz/libzstd/";
    let run = |n: usize| format!("{folder}20260101_{n:06}_aaaaa@");
    let names: Vec<String> = (0..many).map(|n| format!("{}/{}", run(n), file::RESULT)).collect();
    fill(store, container, &names).await;
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    eventually(store, container, &ListQuery::default(), &all).await;
    let mut query = ListQuery {
        prefix: folder.to_owned(),
        delimiter: Some("@".to_owned()),
        marker: String::new(),
        limit: Some((many / 7).max(1)),
    };
    let mut seen = Vec::new();
    loop {
        let page = store.list(container, &query).await.unwrap();
        let Some(last) = page.last() else { break };
        last.name().clone_into(&mut query.marker);
        seen.extend(page);
    }
    assert_eq!(seen, (0..many).map(|n| Entry::Prefix(run(n))).collect::<Vec<_>>());
    query.marker = run(many - 2);
    assert_eq!(store.list(container, &query).await.unwrap(), [Entry::Prefix(run(many - 1))]);
    delete_prefix(store, container, folder).await.unwrap();
}

async fn private_containers(store: &dyn Store, mark: &str) {
    let container: Container = format!("private-autopkgtest-{mark}").parse().unwrap();
    let reader = |name: &str| Access::Reader(name.parse().unwrap());
    for _ in 0..2 {
        store.ensure_container(&container, &reader("adt:reader")).await.unwrap();
    }
    for other in ["adt:readers", "adt", "stranger"] {
        let error = store.ensure_container(&container, &reader(other)).await.unwrap_err();
        assert!(matches!(error, StoreError::OtherReader { .. }) && !error.may_retry(), "{error}");
    }
    store.ensure_container(&container, &reader("adt:reader")).await.expect("nothing was widened");
    assert!(!store.is_public(&container).await.unwrap());
    put(store, &container, "secret/log.gz", "secret").await.unwrap();
    assert_eq!(read(store, &container, "secret/log.gz", None).await.unwrap(), "secret");
    let errors = [
        store.head(&container, "secret/other").await.unwrap_err(),
        put(store, &container, "secret//log.gz", "secret").await.unwrap_err(),
        store.ensure_container(&container, &reader("stranger")).await.unwrap_err(),
    ];
    for text in errors.map(|error| error.to_string()) {
        assert!(!text.contains("secret") && !text.contains(mark), "a private run's name in: {text}");
    }
    store.delete(&container, "secret/log.gz").await.unwrap();
    // A container of ours that was made for nobody is nobody's later on.
    let internal: Container = format!("private-{mark}").parse().unwrap();
    for _ in 0..2 {
        store.ensure_container(&internal, &Access::Internal).await.unwrap();
    }
    assert!(!store.is_public(&internal).await.unwrap());
    let error = store.ensure_container(&internal, &reader("adt:reader")).await.unwrap_err();
    assert!(matches!(error, StoreError::OtherReader { .. }), "{error}");
}

/// Those that were made above: `private-{mark}`, `private-autopkgtest-{mark}`, `autopkgtest-{mark}`.
async fn containers(store: &dyn Store, mark: &str) {
    let names = async |prefix: &str| {
        let containers = store.containers(prefix).await.unwrap();
        containers.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(names(&format!("missing-{mark}")).await.is_empty());
    let (public, private) = (format!("autopkgtest-{mark}"), format!("private-autopkgtest-{mark}"));
    let seen = async {
        // An account's listing may lag behind.
        while names(&public).await != [public.as_str()] || names(&private).await != [private.as_str()] {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let all = names("").await;
        assert!(all.is_sorted() && [&public, &private].into_iter().all(|name| all.contains(name)), "{all:?}");
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("the containers in time");
}

async fn put(store: &dyn Store, container: &Container, name: &str, text: &str) -> Result<(), StoreError> {
    let headers = ContentHeaders::of(name.rsplit('/').next().unwrap_or_default());
    store.put(container, name, &Body::Bytes(Bytes::copy_from_slice(text.as_bytes())), &headers).await
}

async fn fill(store: &dyn Store, container: &Container, names: &[String]) {
    let puts = names.iter().map(|name| put(store, container, name, "filled"));
    stream::iter(puts).buffer_unordered(8).try_collect::<()>().await.unwrap();
}

async fn read(
    store: &dyn Store,
    container: &Container,
    name: &str,
    range: Option<ByteRange>,
) -> Result<Bytes, StoreError> {
    store.get(container, name, range).await?.bytes(1 << 20).await
}

fn rows(page: &[Entry]) -> Vec<listing::Row> {
    let row = |entry: &Entry| match entry {
        Entry::Object { name, .. } => listing::Row::Object(name.clone()),
        Entry::Prefix(name) => listing::Row::Prefix(name.clone()),
    };
    page.iter().map(row).collect()
}

/// Waits until a listing holds just these names: Swift's may lag behind.
async fn eventually(store: &dyn Store, container: &Container, query: &ListQuery, names: &[&str]) {
    let same = async {
        loop {
            let page = store.list(container, query).await.unwrap();
            if page.iter().map(Entry::name).eq(names.iter().copied()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, same).await.expect("the listing in time");
}
