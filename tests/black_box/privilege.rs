//! What each part may do at the servers, and what is said where it may not do enough.

use anyhow::{Context, Result};
use futures::future::join_all;
use proofhouse_core::{
    bus::{self, Bus, BusError, Declaration, Message, Source, Target},
    db::{Database, DbError},
    tls::Authorities,
};
use proofhouse_tests::{
    certificates::authority,
    cluster::{Cluster, PATIENCE, body, params},
    rabbit::Rabbit,
    wait::wait_for,
};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;

fn link(url: &str) -> Result<Arc<dyn Bus>> {
    Ok(bus::connect_trusting(url, "test", &Authorities::read(&authority()?.file())?)?)
}

#[tokio::test]
async fn a_gate_may_publish_to_queues_and_nothing_else() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let client = cluster.client().await?;
    client.declare("debci-noble-amd64").await?;
    let gate = link(&cluster.bus_of("gate"))?;
    gate.publish(&Target::ExistingQueue("debci-noble-amd64".into()), Message::persistent("green")).await?;
    let fanout = gate.publish(&Target::Fanout("amq.fanout".into()), Message::persistent("x")).await;
    assert!(matches!(fanout, Err(BusError::Refused { .. })), "{fanout:?}");
    let consumed = gate.consume(Source::Queues(vec!["debci-noble-amd64".into()]), 1).await.err();
    assert!(matches!(consumed, Some(BusError::Refused { .. })), "{consumed:?}");
    let made = gate.declare(&[Declaration::Queue("debci-new-amd64".into())]).await;
    assert!(
        matches!(&made, Err(BusError::Missing { reason, .. }) if reason.contains("debci-new-amd64")),
        "{made:?}"
    );
    gate.close().await;
    client.close().await
}

/// The queues of others are not theirs to read.
#[tokio::test]
async fn no_part_reads_what_is_for_another() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let forbidden = [
        ("worker", "debci-noble-amd64"),
        ("worker", "proofhouse.asks"),
        ("web", "proofhouse.asks"),
        ("web", "proofhouse.pool.amd64"),
        ("operator", "debci-noble-amd64"),
        ("dispatcher", "proofhouse.pool.amd64"),
    ];
    let done = forbidden.map(async |(part, queue)| {
        let bus = link(&cluster.bus_of(part))?;
        let refused = bus.consume(Source::Queues(vec![queue.into()]), 1).await.err();
        assert!(
            matches!(&refused, Some(BusError::Refused { reason, .. }) if reason.contains("ACCESS_REFUSED")),
            "{part} and {queue}: {refused:?}"
        );
        bus.close().await;
        anyhow::Ok(())
    });
    join_all(done).await.into_iter().collect()
}

/// An administrator declares everything, and the dispatcher may declare nothing.
#[tokio::test]
async fn a_dispatcher_that_may_not_declare_works_with_what_is_there() -> Result<()> {
    let rabbit = Rabbit::start().await?;
    let mut cluster = Cluster::on_folder().await?;
    cluster.bus = rabbit.secured("/").await?;
    let needs = cluster.dispatcher().start_unready()?;
    wait_for("the topology", PATIENCE, async || {
        cluster.client().await.ok()?.depth("proofhouse.renewals").await.ok()?
    })
    .await?;
    needs.ready(PATIENCE).await?;
    needs.kill9().await?;
    let (write, read) =
        (r"^(amq\.default|proofhouse\.leader|testcomplete\.fanout)$", r"^(debci-.*|proofhouse\..*)$");
    rabbit.ctl(&["set_permissions", "dispatcher", "^$", write, read]).await?;
    let dispatcher = cluster.dispatcher().start().await?;
    let _worker = cluster.worker("one").start().await?;
    let client = cluster.client().await?;
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[]))).await?;
    cluster.done("green", 1).await?;
    dispatcher.kill9().await?;

    // What is not there is named, with what to do.
    let more = cluster.dispatcher().arg("--releases", "noble,jammy").start_unready()?;
    assert!(!more.wait(PATIENCE).await?.success());
    let log = more.log();
    assert!(log.contains("there is no queue debci-jammy-amd64") && log.contains("by hand"), "{log}");
    Ok(())
}

/// A worker that comes first waits for the dispatcher that declares.
#[tokio::test]
async fn a_worker_waits_for_what_it_may_not_declare() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let worker = cluster.worker("one").start_unready()?;
    wait_for("what it waits for", PATIENCE, async || {
        worker.log().contains("waiting until a dispatcher has made it").then_some(())
    })
    .await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    worker.ready(PATIENCE).await?;
    let client = cluster.client().await?;
    client.publish("debci-noble-amd64", &body("green", &params("green/2", &[]))).await?;
    cluster.done("green", 1).await
}

#[tokio::test]
async fn an_empty_database_names_who_must_set_it_up() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let mut owner = PgConnection::connect(&cluster.database).await?;
    sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").execute(&mut owner).await?;
    sqlx::raw_sql("GRANT USAGE ON SCHEMA public TO proofhouse_dispatcher, proofhouse_web")
        .execute(&mut owner)
        .await?;
    for role in [cluster.dispatcher(), cluster.web()] {
        let role = role.start_unready()?;
        assert_eq!(role.wait(PATIENCE).await?.code(), Some(2));
        let log = role.log();
        assert!(
            log.contains("proofhouse database migrate") && log.contains("deploy/postgres/roles.sql"),
            "{log}"
        );
        assert!(!log.contains("sekrit"), "{log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_missing_names_the_file_that_gives_it() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let mut owner = PgConnection::connect(&cluster.database).await?;
    sqlx::raw_sql("REVOKE ALL ON jobs FROM proofhouse_web").execute(&mut owner).await?;
    let database = Database::open(&cluster.database_of("web"), None)?;
    let refused = database.running(1).await.err().context("it may not")?;
    assert!(matches!(&refused, DbError::Forbidden { .. }), "{refused:?}");
    assert!(refused.to_string().contains("roles.sql"), "{refused}");
    Ok(())
}

/// No part changes the schema, deletes what happened, or sees what it has no use for.
#[tokio::test]
async fn each_role_is_kept_to_its_tables() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    for (part, statement) in [
        ("dispatcher", "CREATE TABLE t (x BIGINT)"),
        ("dispatcher", "DROP TABLE jobs"),
        ("dispatcher", "DELETE FROM jobs"),
        ("dispatcher", "DELETE FROM results"),
        ("dispatcher", "SELECT hash FROM tokens"),
        ("dispatcher", "UPDATE _sqlx_migrations SET success = false"),
        ("web", "UPDATE jobs SET state = 'done'"),
        ("web", "UPDATE leadership SET epoch = 0"),
        (
            "web",
            "INSERT INTO tokens (name, person, hash, scopes, created_us, ends_us, revoked) VALUES ('', '', '', '', 0, 0, false)",
        ),
        ("web", "SELECT result_tar FROM outbox"),
        ("web", "SELECT body FROM rejected"),
        ("web", "UPDATE results SET stored = true"),
        ("operator", "DELETE FROM results"),
        ("operator", "UPDATE leadership SET epoch = 0"),
        ("operator", "UPDATE tokens SET hash = ''"),
        ("operator", "CREATE TEMPORARY TABLE t (x BIGINT)"),
    ] {
        let mut connection = PgConnection::connect(&cluster.database_of(part)).await?;
        let error = sqlx::raw_sql(statement).execute(&mut connection).await.err();
        let code = error.as_ref().and_then(|e| e.as_database_error()?.code());
        assert_eq!(code.as_deref(), Some("42501"), "{part}: {statement}: {error:?}");
    }
    // In plain text none of them gets in.
    let plain = cluster.database_of("web").replace("verify-full", "disable");
    let refused = Database::open(&plain, None)?.schema().await.err().context("it must not work")?;
    assert!(format!("{:#}", anyhow::Error::from(refused)).contains("pg_hba.conf"));
    Ok(())
}
