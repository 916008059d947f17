//! Every end of the bus, every store and both databases behave as their traits say, against real servers.

use std::{io::Write, panic::resume_unwind, sync::Arc, thread};

use anyhow::Result;
use bytes::Bytes;
use proofhouse_core::{
    db,
    layout::Container,
    store::{self, Access, Body, ByteRange, ContentHeaders, Store, StoreError},
};
use proofhouse_tests::{cluster::SEAL_KEY, rabbit::Rabbit, shared};
use tokio::{runtime::Handle, task::block_in_place};

#[cfg(feature = "verify")]
use crate::bus::Fault;
use crate::bus::{self, Broker};

/// The harness's broker, for tests that block.
struct Ours(Rabbit);

/// On a thread of its own: what is waited for on this one would take the wakes of the test that stands here.
fn wait<T: Send>(work: impl AsyncFnOnce() -> Result<T> + Send) -> T {
    let runtime = Handle::current();
    let waited = block_in_place(|| thread::scope(|scope| scope.spawn(|| runtime.block_on(work())).join()));
    waited.unwrap_or_else(|panic| resume_unwind(panic)).unwrap_or_else(|error| panic!("{error:#}"))
}

impl Broker for Ours {
    fn port(&self) -> u16 {
        self.0.address().port()
    }

    fn ctl(&self, arguments: &[&str]) -> String {
        wait(async || self.0.ctl(arguments).await)
    }

    fn write_down(&self) {
        wait(async || self.0.eval("mnesia:sync_log().").await);
    }

    fn kill_and_start(&self) {
        wait(async || {
            self.0.kill9().await?;
            self.0.start_again().await
        });
    }

    fn user(&self) -> (String, String) {
        let url = url::Url::parse(&self.0.url()).unwrap_or_else(|error| panic!("{error}"));
        (url.username().to_owned(), url.password().unwrap_or_default().to_owned())
    }
}

async fn broker() -> Result<Ours> {
    Ok(Ours(Rabbit::start().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_behaves() -> Result<()> {
    let broker = broker().await?;
    bus::behaves(&broker).await;
    bus::connections_are_named_and_end(&broker).await;
    bus::what_was_deleted_comes_back(&broker).await;
    bus::declares_beside_others(&broker).await;
    bus::the_greater_rank_goes_first(&broker).await;
    bus::waits_for_its_password(&broker).await;
    bus::many_queues_and_a_burst(&broker).await;
    bus::numbers_of_channels_come_again(&broker).await;
    bus::a_silent_broker_is_left(&broker).await;
    Ok(())
}

#[cfg(feature = "verify")]
#[tokio::test(flavor = "multi_thread")]
async fn the_bus_survives_restarts_and_cuts() -> Result<()> {
    let broker = broker().await?;
    for fault in [Fault::StopAndStart, Fault::Kill, Fault::Cut, Fault::Freeze] {
        bus::survives(&broker, fault).await;
    }
    Ok(())
}

#[tokio::test]
async fn postgresql_behaves() -> Result<()> {
    let url = shared::postgres().await?.database("behaves").await?;
    db::tests::behaves(&db::Database::open(&url, None)?).await;
    Ok(())
}

#[tokio::test]
async fn swift_with_tempauth_behaves() -> Result<()> {
    let account = shared::swift().await?.account()?;
    let store = open(&account.store_url(), &account.env())?;
    store::behaviour::check(&*store, &SEAL_KEY[..8], 60).await;
    Ok(())
}

#[tokio::test]
async fn swift_with_keystone_behaves() -> Result<()> {
    let project = shared::cloud().await?.project("behaves").await?;
    let store = open(&project.store_url(), &project.env())?;
    store::behaviour::check(&*store, &SEAL_KEY[..8], 60).await;
    Ok(())
}

/// The credentials of a test's own account.
fn open(url: &str, variables: &[(String, String)]) -> Result<Arc<dyn Store>> {
    let variable = |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    Ok(store::open_with(url, &variable)?)
}

#[tokio::test]
async fn s3_of_swift_behaves() -> Result<()> {
    let account = shared::swift().await?.account()?;
    let of_buckets = open(&account.s3_url(""), &account.s3_env())?;
    store::behaviour::check(&*of_buckets, &SEAL_KEY[..8], 60).await;
    large_bodies(&*of_buckets).await?;
    let of_prefixes = open(&account.s3_url("results"), &account.s3_env())?;
    store::behaviour::check_briefly(&*of_prefixes, &SEAL_KEY[..8]).await;
    let mut stranger = account.s3_env();
    stranger[1].1 = "guessed".to_owned();
    for error in [
        open(&account.s3_url(""), &stranger)?.check().await.unwrap_err(),
        open(&account.s3_url("results"), &stranger)?.is_public(&container()?).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn s3_of_moto_behaves() -> Result<()> {
    let moto = shared::moto().await?;
    let of_prefixes = open(&moto.s3_url("behaves"), &moto.s3_env())?;
    store::behaviour::check(&*of_prefixes, &SEAL_KEY[..8], 60).await;
    large_bodies(&*of_prefixes).await?;
    let of_buckets = open(&moto.s3_url(""), &moto.s3_env())?;
    store::behaviour::check_briefly(&*of_buckets, &SEAL_KEY[..8]).await;
    Ok(())
}

/// Who has no credentials reads what is public from the server itself, where it has policies, and nothing else.
#[tokio::test]
async fn s3_lets_anyone_read_what_is_public() -> Result<()> {
    let moto = shared::moto().await?;
    for bucket in ["", "anyone"] {
        let store = open(&moto.s3_url(bucket), &moto.s3_env())?;
        let (public, internal) = ("autopkgtest-anyone".parse()?, "private-anyone".parse()?);
        store.ensure_container(&public, &Access::Public).await?;
        store.ensure_container(&internal, &Access::Internal).await?;
        let body = Body::Bytes(Bytes::from_static(b"log"));
        for container in [&public, &internal] {
            store.put(container, "a/log.gz", &body, &ContentHeaders::of("log.gz")).await?;
        }
        let base = if bucket.is_empty() { moto.url() } else { format!("{}/{bucket}", moto.url()) };
        for (path, status) in [
            ("autopkgtest-anyone/a/log.gz", 200),
            ("private-anyone/a/log.gz", 403),
            (
                if bucket.is_empty() {
                    "private-anyone/.proofhouse/access"
                } else {
                    ".proofhouse/containers/private-anyone"
                },
                403,
            ),
        ] {
            let url = format!("{base}/{path}");
            assert_eq!(reqwest::get(&url).await?.status().as_u16(), status, "{url}");
        }
    }
    Ok(())
}

fn container() -> Result<Container> {
    Ok(format!("autopkgtest-{}", &SEAL_KEY[..8]).parse()?)
}

/// A body that is sent in parts.
async fn large_bodies(store: &dyn Store) -> Result<()> {
    let (container, name) = (container()?, "large/artifacts.tar.gz");
    let mut file = tempfile::NamedTempFile::new()?;
    for n in 0..70_u8 {
        file.write_all(&vec![n; 1 << 20])?;
    }
    let body = Body::File(file.path().to_owned());
    store.put(&container, name, &body, &ContentHeaders::of("artifacts.tar.gz")).await?;
    let info = store.head(&container, name).await?;
    assert_eq!((info.length, info.headers), (70 << 20, ContentHeaders::of("artifacts.tar.gz")));
    let border = ByteRange::From((64 << 20) - 1, Some(64 << 20));
    assert_eq!(store.get(&container, name, Some(border)).await?.bytes(2).await?, [63, 64][..]);
    store.delete(&container, name).await?;
    Ok(())
}
