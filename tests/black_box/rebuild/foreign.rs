//! Another system completes runs on the same store and broker.

use anyhow::Result;
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use proofhouse_tests::{
    amqp,
    cluster::{Cluster, PATIENCE, Results, body, params},
    wait::wait_for,
};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::{page, write_file, write_run};

/// Sends to the exchange as the old system's workers do.
async fn complete(cluster: &Cluster, bodies: &[Vec<u8>]) -> Result<()> {
    let connection = amqp::connection(&cluster.bus).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for body in bodies {
        let (options, properties) =
            (BasicPublishOptions::default(), BasicProperties::default().with_delivery_mode(2));
        let sent = channel
            .basic_publish("testcomplete.fanout".into(), "".into(), options, body, properties)
            .await?
            .await?;
        assert!(sent.is_ack());
    }
    Ok(connection.close(200, "done".into()).await?)
}

/// Generation B's message.
fn message(container: &str, folder: &str) -> Value {
    json!({"architecture": "amd64", "container": container, "duration": "77\n", "exitcode": 4, "package": "green",
        "testpkg_version": "green 2", "release": "noble", "requester": "joe\n", "swift_dir": folder, "triggers": "green/2",
        "env": ""})
}

#[tokio::test]
async fn what_others_complete_is_indexed() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let Results::Folder(store) = &cluster.results else { anyhow::bail!("a folder") };
    let mut dispatcher = cluster.dispatcher().start().await?;
    let web = cluster.web().start().await?;
    let site = web.site_url()?;
    let members = [
        ("exitcode", "4\n"),
        ("testpkg-version", "green 2\n"),
        ("duration", "77\n"),
        ("requester", "joe\n"),
        ("testinfo.json", "{\"custom_environment\": [\"ADT_TEST_TRIGGERS=green/2\"]}"),
    ];
    let folder = |n: u32| format!("noble/amd64/g/green/20260101_00000{n}_aaaaa@");
    let hush = "noble/amd64/h/hushhush/20260101_000001_aaaaa@";
    write_run(store, "autopkgtest-noble", &folder(1), &members)?;
    write_run(store, "private-autopkgtest-noble", hush, &members)?;
    write_file(store, "private-autopkgtest-noble", &format!("{hush}/readable-by"), b"joe\n")?;
    write_file(store, "autopkgtest-noble", &format!("{}/result.tar", folder(2)), b"nonsense")?;
    write_file(store, "proofhouse-attempts", &format!("{}/result.tar", folder(1)), b"nonsense")?;
    let mut sent: Vec<Vec<u8>> =
        [b"\xff\xfe".to_vec(), b"{".to_vec(), b"[]".to_vec(), "[".repeat(100_000).into_bytes()].into();
    for (container, folder) in [
        ("autopkgtest-noble", folder(3).as_str()), // not in the store
        ("autopkgtest-noble", folder(2).as_str()), // damaged
        ("autopkgtest-missing", folder(1).as_str()),
        ("proofhouse-attempts", folder(1).as_str()),
        ("../../etc", folder(1).as_str()),
        ("autopkgtest-noble", "../../../../etc/passwd"),
        ("private-autopkgtest-noble", hush),
        ("autopkgtest-noble", folder(1).as_str()),
        ("autopkgtest-noble", folder(1).as_str()), // twice
    ] {
        sent.push(message(container, folder).to_string().into_bytes());
    }
    complete(&cluster, &sent).await?;
    shown(&site, &folder(1)).await?;
    let client = cluster.client().await?;
    // It counts what is not delivered yet; the stop below gives back what is not acknowledged.
    wait_for("all to be dealt with", PATIENCE, async || {
        let log = dispatcher.log();
        let done = log.matches("is dropped").count() == 10 && log.contains("a private run, which another");
        done.then_some(())
    })
    .await?;
    assert!(!dispatcher.log().contains("hush"), "a private run is named");
    let mut database = PgConnection::connect(&cluster.database).await?;
    let rows: Vec<(String, bool, String, Option<String>)> =
        sqlx::query_as("SELECT container, private, readable_by, rule FROM results ORDER BY container")
            .fetch_all(&mut database)
            .await?;
    assert_eq!(
        rows,
        [
            ("autopkgtest-noble".to_owned(), false, String::new(), None),
            ("private-autopkgtest-noble".to_owned(), true, "joe\n".trim().to_owned(), None),
        ]
    );

    // What comes while no dispatcher is there waits for the next one; nothing that was dealt with comes again.
    dispatcher.sigterm()?;
    dispatcher.wait(PATIENCE).await?;
    assert_eq!(client.depth("proofhouse.complete").await?, Some(0));
    write_run(store, "autopkgtest-noble", &folder(4), &members)?;
    complete(&cluster, &[message("autopkgtest-noble", &folder(4)).to_string().into_bytes()]).await?;
    assert_eq!(client.depth("proofhouse.complete").await?, Some(1));
    dispatcher.start_again().await?;
    shown(&site, &folder(4)).await?;

    // Our own come by the same way, and change nothing.
    let _worker = cluster.worker("one").start().await?;
    client.publish("debci-noble-amd64", &body("green", &params("green/5", &[]))).await?;
    cluster.done("green", 1).await?;
    dispatcher.sigterm()?;
    dispatcher.wait(PATIENCE).await?;
    let all: i64 = sqlx::query_scalar("SELECT count(*) FROM results").fetch_one(&mut database).await?;
    assert_eq!(all, 4);
    Ok(())
}

async fn shown(site: &str, folder: &str) -> Result<()> {
    let run_id = folder.rsplit('/').next().unwrap_or_default();
    wait_for(&format!("{run_id} on the pages"), PATIENCE, async || {
        let (status, text) = page(&format!("{site}/packages/green/noble/amd64/{run_id}")).await.ok()?;
        (status == 200 && text.contains("green/2")).then_some(())
    })
    .await
}
