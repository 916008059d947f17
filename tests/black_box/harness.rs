//! The harness itself: each server starts, serves and can be hurt.

use std::time::Duration;

use anyhow::{Context, Result};
use proofhouse_tests::{
    amqp::AmqpClient, keeper::Keeper, postgres::Postgres, proxy::TcpProxy, rabbit::Rabbit, shared,
    swift::Swift, wait::wait_for,
};
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn rabbit_vhosts_are_apart() -> Result<()> {
    let rabbit = shared::rabbit().await?;
    let one = AmqpClient::connect(&rabbit.url_for_vhost("apart-1").await?).await?;
    let two = AmqpClient::connect(&rabbit.url_for_vhost("apart-2").await?).await?;
    one.declare("debci-noble-amd64").await?;
    one.publish("debci-noble-amd64", b"hello").await?;
    assert_eq!(one.depth("debci-noble-amd64").await?, Some(1));
    assert_eq!(two.depth("debci-noble-amd64").await?, None);
    one.publish("debci-none-amd64", b"dropped by the broker").await?;
    assert_eq!(one.take("debci-noble-amd64").await?.as_deref(), Some(&b"hello"[..]));
    one.close().await?;
    two.close().await
}

#[tokio::test]
async fn rabbit_fanout_is_heard() -> Result<()> {
    let url = shared::rabbit().await?.url_for_vhost("fanout").await?;
    let client = AmqpClient::connect(&url).await?;
    let mut listener = client.listen("amq.fanout").await?;
    let sender = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await?;
    let channel = sender.create_channel().await?;
    for body in [&br#"{"n": 1}"#[..], br#"{"n": 2}"#] {
        let (exchange, options) = ("amq.fanout".into(), lapin::options::BasicPublishOptions::default());
        channel.basic_publish(exchange, "".into(), options, body, lapin::BasicProperties::default()).await?;
    }
    let second = listener.next_json(SOON, |value| value["n"] == 2).await?;
    assert_eq!(second, serde_json::json!({"n": 2}));
    sender.close(200, "done".into()).await?;
    client.close().await
}

#[tokio::test]
async fn rabbit_keeps_messages_over_restarts() -> Result<()> {
    let rabbit = Rabbit::start().await?;
    let client = AmqpClient::connect(&rabbit.url()).await?;
    client.declare("debci-noble-amd64").await?;
    client.publish("debci-noble-amd64", b"hello").await?;
    rabbit.stop_app().await?;
    assert!(AmqpClient::connect(&rabbit.url()).await.is_err());
    rabbit.start_app().await?;
    let client = AmqpClient::connect(&rabbit.url()).await?;
    assert_eq!(client.depth("debci-noble-amd64").await?, Some(1));
    rabbit.kill9().await?;
    assert!(client.depth("debci-noble-amd64").await.is_err());
    rabbit.start_again().await?;
    let client = AmqpClient::connect(&rabbit.url()).await?;
    assert_eq!(client.take("debci-noble-amd64").await?.as_deref(), Some(&b"hello"[..]));
    client.close().await
}

#[tokio::test]
async fn postgres_gives_databases_and_survives_a_kill() -> Result<()> {
    let postgres = Postgres::start().await?;
    let url = postgres.database("kept").await?;
    let mut connection = PgConnection::connect(&url).await?;
    sqlx::raw_sql("CREATE TABLE t (x TEXT); INSERT INTO t VALUES ('b'), ('B'), ('a')")
        .execute(&mut connection)
        .await?;
    let sorted: Vec<String> =
        sqlx::query_scalar("SELECT x FROM t ORDER BY x").fetch_all(&mut connection).await?;
    assert_eq!(sorted, ["a", "b", "B"], "not byte order: see Postgres");
    postgres.kill9().await?;
    postgres.start_again().await?;
    let mut connection = PgConnection::connect(&url).await?;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut connection).await?;
    assert_eq!(rows, 3);
    let mut other = PgConnection::connect(&postgres.database("other").await?).await?;
    assert!(sqlx::query("SELECT * FROM t").execute(&mut other).await.is_err());
    Ok(())
}

#[tokio::test]
async fn swift_stores_and_lists() -> Result<()> {
    let swift = Swift::start().await?;
    let account = swift.account()?;
    let http = reqwest::Client::new();
    let token = account.token("admin").await?;
    let container = format!("{}/autopkgtest-noble", account.public_url());
    let made =
        http.put(&container).header("X-Auth-Token", &token).header("X-Container-Read", ".r:*,.rlistings");
    assert_eq!(made.send().await?.status(), 201);
    let object = format!("{container}/noble/amd64/h/hello/20260101_000000_aaaaa@/log.gz");
    let put = http.put(&object).header("X-Auth-Token", &token).body("bytes");
    assert_eq!(put.send().await?.status(), 201);
    swift.kill9().await?;
    assert!(http.get(&object).send().await.is_err());
    swift.start_again().await?;
    assert_eq!(reqwest::get(&object).await?.text().await?, "bytes");
    let listing = reqwest::get(format!("{container}/?delimiter=@&prefix=noble/amd64/")).await?.text().await?;
    assert_eq!(listing, "noble/amd64/h/hello/20260101_000000_aaaaa@\n");
    let foreign = swift.account()?.token("admin").await?;
    let refused = http.put(&object).header("X-Auth-Token", foreign).body("other").send().await?;
    assert_eq!(refused.status(), 403);
    Ok(())
}

#[tokio::test]
async fn keystone_guards_swift() -> Result<()> {
    let cloud = shared::cloud().await?;
    let owner = cloud.project("guarded").await?;
    let reader = cloud.project("guarded-reader").await?;
    let http = reqwest::Client::new();
    let container = format!("{}/private-autopkgtest-noble", owner.public_url());
    let token = owner.token().await?;
    let made = http.put(&container).header("X-Auth-Token", &token);
    assert_eq!(made.header("X-Container-Read", format!("*:{}", reader.user_id)).send().await?.status(), 201);
    let object = format!("{container}/log.gz");
    assert_eq!(http.put(&object).header("X-Auth-Token", token).body("bytes").send().await?.status(), 201);
    let read = http.get(&object).header("X-Auth-Token", reader.token().await?).send().await?;
    assert_eq!(read.text().await?, "bytes");
    assert_eq!(reqwest::get(&object).await?.status(), 401);
    let stranger = cloud.project("guarded-stranger").await?.token().await?;
    assert_eq!(http.get(&object).header("X-Auth-Token", stranger).send().await?.status(), 403);
    Ok(())
}

/// A server that sends back what it gets.
async fn echo_server() -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = stream.split();
                tokio::io::copy(&mut reads, &mut writes).await
            });
        }
    });
    Ok(address)
}

#[tokio::test]
async fn proxy_forwards_holds_cuts_and_refuses() -> Result<()> {
    let proxy = TcpProxy::start(echo_server().await?).await?;
    let mut answer = [0; 4];
    let mut client = TcpStream::connect(proxy.address()).await?;
    client.write_all(b"ping").await?;
    client.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"ping");

    proxy.hold_client_to_server();
    client.write_all(b"held").await?;
    let early = tokio::time::timeout(Duration::from_millis(200), client.read_exact(&mut answer)).await;
    assert!(early.is_err(), "held bytes came through");
    proxy.resume();
    client.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"held");

    proxy.refuse().await?;
    assert!(TcpStream::connect(proxy.address()).await.is_err());
    client.write_all(b"stay").await?;
    client.read_exact(&mut answer).await?;
    proxy.cut();
    assert_eq!(client.read(&mut answer).await.unwrap_or(0), 0, "the connection was cut");
    proxy.restore().await?;
    TcpStream::connect(proxy.address()).await?;
    assert_eq!(proxy.before("amqp://u:p@127.0.0.1:1/v")?, format!("amqp://u:p@{}/v", proxy.address()));
    Ok(())
}

#[tokio::test]
async fn keeper_leaves_nothing() -> Result<()> {
    let keeper = Keeper::new("leaves-nothing")?;
    let dir = keeper.dir().to_owned();
    // A daemon: its own session, its parent gone.
    let mut command = keeper.command("sh");
    command.args(["-c", "setsid sleep 987 & echo $! >\"$0\"; exit"]).arg(dir.join("pid"));
    keeper.spawn("daemon", &mut command)?.wait(SOON).await?;
    let daemon = wait_for("the daemon", SOON, async || keeper.processes().first().copied()).await?;
    assert_eq!(std::fs::read_to_string(dir.join("pid"))?.trim(), daemon.to_string());
    drop(keeper);
    assert!(!dir.exists(), "the folder is gone");
    let state = std::fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "the daemon is gone: {state}");
    Ok(())
}

#[tokio::test]
async fn waiting_says_for_what() -> Result<()> {
    let waited = wait_for("the moon", Duration::from_millis(50), async || None::<()>).await;
    let text = waited.err().context("it cannot happen")?.to_string();
    assert!(text.contains("for the moon"), "{text}");
    Ok(())
}
