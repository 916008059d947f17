//! TLS with certificates of one's own, to every server; and what is said where it fails.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use proofhouse_core::{
    bus::{self, behaviour},
    db::{self, Database},
    store::{self, Store, StoreError},
    tls::Authorities,
};
use proofhouse_tests::{
    certificates::{Authority, authority},
    cluster::{PATIENCE, SEAL_KEY},
    front::TlsFront,
    postgres, rabbit, shared,
    wait::wait_for,
};

fn ours() -> Result<Authorities> {
    Ok(Authorities::read(&authority()?.file())?)
}

/// A name that no other test uses.
fn fresh() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn variable(variables: Vec<(String, String)>) -> impl Fn(&str) -> Option<String> {
    move |name| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

fn amqps(address: SocketAddr) -> String {
    format!("amqps://{}:{}@{address}", rabbit::USER, rabbit::PASSWORD)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_behaves_over_tls() -> Result<()> {
    let url = amqps(shared::rabbit().await?.tls_address());
    let bus = bus::connect_trusting(&url, "test", &ours()?)?;
    behaviour::all(&*bus, &fresh()).await;
    bus.close().await;
    Ok(())
}

#[tokio::test]
async fn postgresql_behaves_over_tls() -> Result<()> {
    let url = shared::postgres().await?.database("behaves_tls").await? + "?sslmode=verify-full";
    db::tests::behaves(&Database::open_trusting(&url, None, &ours()?)?).await;
    Ok(())
}

#[tokio::test]
async fn swift_behaves_over_tls() -> Result<()> {
    let account = shared::swift().await?.account()?;
    let store = store::open_trusting(&account.tls_store_url(), &variable(account.env()), &ours()?)?;
    store::behaviour::check(&*store, &SEAL_KEY[..8], 20).await;
    Ok(())
}

#[tokio::test]
async fn keystone_and_its_swift_behave_over_tls() -> Result<()> {
    let cloud = shared::cloud().await?;
    let front = TlsFront::start(cloud.address(), authority()?.server(&["127.0.0.1"])?).await?;
    let project = cloud.project("behaves-tls").await?.over_tls(front.address());
    let store = store::open_trusting(&project.store_url(), &variable(project.env()), &ours()?)?;
    store::behaviour::check(&*store, &SEAL_KEY[..8], 20).await;
    let doubting = store::open_with(&project.store_url(), &variable(project.env()))?;
    says(&refusal(&*doubting).await?, "--ca-file");
    Ok(())
}

fn says(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "{text}\ndoes not say {wanted}");
    for secret in [rabbit::PASSWORD, postgres::PASSWORD] {
        assert!(!text.contains(secret), "{text}");
    }
}

async fn refusal(store: &dyn Store) -> Result<String> {
    let error = store.check().await.err().context("it must not work")?;
    assert!(matches!(error, StoreError::Away { .. }), "{error:?}");
    Ok(error.to_string())
}

/// What the bus says of a broker that it does not link to.
async fn trouble(url: &str, authorities: &Authorities) -> Result<String> {
    let bus = bus::connect_trusting(url, "test", authorities)?;
    let trouble = wait_for("the reason", PATIENCE, async || bus.trouble()).await;
    bus.close().await;
    trouble
}

/// A front for another name than the one that it is reached by.
async fn misnamed(server: SocketAddr) -> Result<TlsFront> {
    TlsFront::start(server, authority()?.server(&["elsewhere.example.org"])?).await
}

#[tokio::test]
async fn a_broker_that_is_not_to_be_trusted_is_named_with_the_reason() -> Result<()> {
    let (rabbit, trusted) = (shared::rabbit().await?, ours()?);
    let other = Authorities::read(&Authority::new("somebody else")?.file())?;
    let strangers = "signed by an authority that is not trusted: name a file with the authority's certificate by --ca-file";
    for authorities in [Authorities::default(), other] {
        says(&trouble(&amqps(rabbit.tls_address()), &authorities).await?, strangers);
    }
    let front = misnamed(rabbit.address()).await?;
    says(&trouble(&amqps(front.address()), &trusted).await?, "is not for 127.0.0.1 but for");
    says(&trouble(&amqps(rabbit.address()), &trusted).await?, "does not speak TLS");
    let plain = rabbit.url().replace(&rabbit.address().to_string(), &rabbit.tls_address().to_string());
    says(&trouble(&plain, &trusted).await?, "amqps://");
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_not_to_be_trusted_is_named_with_the_reason() -> Result<()> {
    let (swift, trusted) = (shared::swift().await?, ours()?);
    let account = swift.account()?;
    let open =
        |url: &str, trusted: &Authorities| store::open_trusting(url, &variable(account.env()), trusted);
    let url = |port| format!("swift+https://127.0.0.1:{port}/auth/v1.0");
    says(&refusal(&*open(&url(swift.tls_port()), &Authorities::default())?).await?, "--ca-file");
    let front = misnamed(SocketAddr::from(([127, 0, 0, 1], swift.port()))).await?;
    says(&refusal(&*open(&url(front.address().port()), &trusted)?).await?, "elsewhere.example.org");
    says(&refusal(&*open(&url(swift.port()), &trusted)?).await?, "does not speak TLS");
    let plain = url(swift.tls_port()).replace("https", "http");
    says(&refusal(&*open(&plain, &trusted)?).await?, "https");
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_not_to_be_trusted_is_named_with_the_reason() -> Result<()> {
    let postgres = shared::postgres().await?;
    let asked = async |mode: &str, host: &str, authorities: &Authorities| -> Result<String> {
        let url = postgres.url("postgres").replace("127.0.0.1", host) + "?sslmode=" + mode;
        let error =
            Database::open_trusting(&url, None, authorities)?.schema().await.err().context("refused")?;
        assert!(error.may_retry(), "{error:?}");
        Ok(format!("{:#}", anyhow::Error::from(error)))
    };
    says(&asked("verify-full", "127.0.0.1", &Authorities::default()).await?, "--ca-file");
    says(&asked("verify-full", "localhost", &ours()?).await?, "is not for localhost but for 127.0.0.1");
    Ok(())
}
