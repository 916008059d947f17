//! Every kind of bad request is in the rejected list with its reason, and good ones around it run.

use anyhow::{Context, Result};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, body, params},
    wait::wait_for,
};

#[tokio::test]
async fn bad_requests_are_kept_and_good_ones_around_them_run() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let dispatcher =
        cluster.dispatcher().arg("--answer-bad-requests", "debci-upstream-noble-amd64").start().await?;
    let client = cluster.client().await?;
    let mut completions = client.listen("testcomplete.fanout").await?;
    let large = format!("green {{\"x\": \"{}\"}}", "x".repeat(1 << 20));
    // No container could be named after it.
    let long = format!("green {{\"ppas\": [\"{}/foo\"]}}", "o".repeat(300));
    let cases: [(&[u8], &str); 21] = [
        (b"\xff\xfe{}", "not-utf8"),
        (b"", "no-package"),
        (b"\n", "no-package"),
        (b"{\"triggers\": []}", "bad-package"),
        (b"gr..een {}", "bad-package"),
        (b"green {\"triggers\": [", "bad-json"),
        (b"green [1]", "not-an-object"),
        (b"green {\"triggers\": \"green/2\"}", "wrong-type"),
        (b"green {\"env\": [1]}", "wrong-type"),
        (b"green {\"triggers\": [\"green\"]}", "bad-value"),
        (b"green {\"ppas\": [\"nonsense\"]}", "bad-value"),
        (b"green {\"env\": [\"A=`id`\"]}", "bad-value"),
        (b"green {\"test-git\": \"ext::sh -c id\"}", "bad-value"),
        (b"green {\"testname\": \"../x\"}", "bad-value"),
        (b"green {\"uuid\": \"1\"}", "bad-value"),
        (b"green {\"ppas\": [\"joe:s3cret@own/foo\"]}", "credentials-without-swiftuser"),
        (b"green {\"readable-by\": \"joe\"}", "readable-by-without-swiftuser"),
        (large.as_bytes(), "too-large"),
        (long.as_bytes(), "bad-value"),
        (b"green {\"testname\": \"a\\u0000b\"}", "bad-value"),
        (b"green {\"x\": \"\\ud800\"}", "bad-json"),
    ];
    for (n, (bad, _)) in cases.iter().enumerate() {
        client.publish("debci-noble-amd64", bad).await?;
        client.publish("debci-noble-amd64", &body("good", &params(&format!("good/{n}"), &[]))).await?;
    }
    // What nobody could hold the broker itself refuses, as it is shipped: it never comes to the list,
    // and who sent it loses the link.
    let _ = cluster.client().await?.publish("debci-noble-amd64", &vec![b'x'; (16 << 20) + 1]).await;
    let _worker = cluster.worker("one").arg("--slots", "4").start().await?;
    cluster.done("good", i64::try_from(cases.len())?).await?;
    let rejected = cluster.json(&["rejected"]).await?;
    let rejected = rejected.as_array().context("a list")?;
    assert_eq!(rejected.len(), cases.len());
    for (row, (_, kind)) in rejected.iter().zip(&cases) {
        assert_eq!(row["kind"], *kind, "{row}");
        assert_eq!(row["queue"], "debci-noble-amd64");
        assert!(row["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
        assert!(!row.to_string().contains("s3cret"));
    }
    assert!(!dispatcher.log().contains("s3cret"));
    let metrics = dispatcher.metrics().await?;
    assert!(metrics.contains("proofhouse_requests_rejected_total{reason=\"bad-value\"} 8"), "{metrics}");
    // Where an operator has switched it on, the gate is told.
    client
        .publish("debci-upstream-noble-amd64", b"bad {\"triggers\": [\"bad/2\"], \"env\": [\"A=$(x)\"]}")
        .await?;
    let answer = completions.next_json(PATIENCE, |m| m["package"] == "bad").await?;
    assert_eq!((&answer["exitcode"], &answer["testpkg_version"]), (&20.into(), &"unknown".into()));
    Ok(())
}

#[tokio::test]
async fn all_configured_queues_exist_once_the_dispatcher_is_healthy() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let client = cluster.client().await?;
    for queue in
        ["debci-noble-amd64", "debci-huge-noble-armhf", "debci-ppa-noble-amd64", "debci-upstream-noble-armhf"]
    {
        assert_eq!(client.depth(queue).await?, Some(0), "{queue} exists once the dispatcher is healthy");
    }
    client.publish("debci-noble-amd64", b"green").await?;
    wait_for("the job in the table", PATIENCE, async || {
        (cluster.jobs("green").await.ok()? == (0, 1)).then_some(())
    })
    .await
}
