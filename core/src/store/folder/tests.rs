//! What only a folder has: other people's files, links, modes.

use std::os::unix::fs::{PermissionsExt, symlink};

use bytes::Bytes;

use super::*;

async fn store_with(container: &str) -> (tempfile::TempDir, Folder, Container) {
    let dir = tempfile::tempdir().unwrap();
    let store = Folder::new(dir.path().to_owned());
    let container: Container = container.parse().unwrap();
    let access = if container.is_private() { Access::Reader("adt".parse().unwrap()) } else { Access::Public };
    store.ensure_container(&container, &access).await.unwrap();
    (dir, store, container)
}

async fn put(store: &Folder, container: &Container, name: &str) -> Result<(), StoreError> {
    store.put(container, name, &Body::Bytes(Bytes::from_static(b"x")), &ContentHeaders::default()).await
}

async fn names(store: &Folder, container: &Container) -> Vec<String> {
    let page = store.list(container, &ListQuery::default()).await.unwrap();
    page.iter().map(|entry| entry.name().to_owned()).collect()
}

#[tokio::test]
async fn does_what_every_store_does() {
    let dir = tempfile::tempdir().unwrap();
    // Below a link, and not yet there.
    symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    for folder in ["link", "a/b c"] {
        crate::store::behaviour::check(&Folder::new(dir.path().join(folder)), "mark", 1000).await;
    }
    let left = fs::read_dir(dir.path().join("real/.uploads")).unwrap().count();
    assert_eq!(left, 0, "uploads that were left behind");
}

#[tokio::test]
async fn files_of_others_are_objects() {
    let (dir, store, container) = store_with("autopkgtest-noble").await;
    let run = dir.path().join("autopkgtest-noble/noble/amd64/h/hello/20260101_000000_aaaaa@");
    fs::create_dir_all(&run).unwrap();
    for file in ["log.gz", ".log.gz.Xy12", "result.tar"] {
        fs::write(run.join(file), "x").unwrap();
    }
    let folder = "noble/amd64/h/hello/20260101_000000_aaaaa@";
    assert_eq!(names(&store, &container).await, ["log.gz", "result.tar"].map(|f| format!("{folder}/{f}")));
    let info = store.head(&container, &format!("{folder}/log.gz")).await.unwrap();
    assert_eq!(info.headers.content_encoding.as_deref(), Some("gzip"));
    let hidden = store.get(&container, &format!("{folder}/.log.gz.Xy12"), None).await;
    assert!(matches!(hidden, Err(StoreError::BadName(_))));
}

#[tokio::test]
async fn links_lead_nowhere() {
    let (dir, store, container) = store_with("autopkgtest-noble").await;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let root = dir.path().join(container.as_str());
    symlink(outside.path(), root.join("out")).unwrap();
    symlink(outside.path().join("secret"), root.join("file")).unwrap();
    symlink(outside.path(), dir.path().join("autopkgtest-linked")).unwrap();

    assert!(names(&store, &container).await.is_empty());
    for name in ["out/secret", "file"] {
        let error = store.get(&container, name, None).await.err().unwrap();
        assert!(matches!(error, StoreError::NoObject(_)), "{name}: {error}");
    }
    for name in ["out/new", "out/new/deep"] {
        assert!(matches!(put(&store, &container, name).await, Err(StoreError::BadName(_))), "{name}");
    }
    store.delete(&container, "out/secret").await.unwrap();
    put(&store, &container, "file").await.unwrap();
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);

    let linked: Container = "autopkgtest-linked".parse().unwrap();
    assert!(matches!(store.get(&linked, "secret", None).await, Err(StoreError::NoContainer(_))));
    assert!(!store.is_public(&linked).await.unwrap());
}

#[tokio::test]
async fn modes_and_readers() {
    let (dir, store, container) = store_with("private-autopkgtest-noble").await;
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("private-autopkgtest-noble"), 0o700);
    assert_eq!(mode(".readers"), 0o700);
    assert!(names(&store, &container).await.is_empty());
    // A folder that somebody made by hand has no reader.
    fs::create_dir(dir.path().join("private-byhand")).unwrap();
    let byhand = "private-byhand".parse().unwrap();
    let error = store.ensure_container(&byhand, &Access::Reader("adt".parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, StoreError::OtherReader { .. }), "{error}");
    // What its name makes public is never taken for private.
    let public = "autopkgtest-noble".parse().unwrap();
    let error = store.ensure_container(&public, &Access::Internal).await.unwrap_err();
    assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
}

#[tokio::test]
async fn a_file_and_a_folder_of_one_name() {
    let (_dir, store, container) = store_with("autopkgtest-noble").await;
    put(&store, &container, "a/b").await.unwrap();
    for name in ["a", "a/b/c"] {
        assert!(matches!(put(&store, &container, name).await, Err(StoreError::BadName(_))), "{name}");
    }
    assert_eq!(names(&store, &container).await, ["a/b"]);
    store.delete(&container, "a/b").await.unwrap();
    put(&store, &container, "a").await.expect("the empty folder is gone");
}

#[tokio::test]
async fn uploads_and_deletions_of_one_folder_do_not_meet() {
    let (_dir, store, container) = store_with("autopkgtest-noble").await;
    let rounds = 300;
    let (puts, deletions) = tokio::join!(
        async {
            for n in 0..rounds {
                put(&store, &container, &format!("deep/er/{n}")).await.unwrap();
            }
        },
        async {
            for n in 0..rounds {
                while store.head(&container, &format!("deep/er/{n}")).await.is_err() {
                    tokio::task::yield_now().await;
                }
                store.delete(&container, &format!("deep/er/{n}")).await.unwrap();
            }
        }
    );
    let ((), ()) = (puts, deletions);
    assert!(names(&store, &container).await.is_empty());
}

#[tokio::test]
async fn a_disk_that_cannot_be_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = Folder::new(file.path().join("store"));
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }) && error.may_retry(), "{error}");
}
