//! Clients of the old site, as they are, read this one.

use anyhow::{Context, Result};
use proofhouse_tests::{
    checkers::check,
    cluster::{Cluster, PATIENCE, body, params},
    wait::wait_for,
};
use serde_json::{Value, json};

const PPA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/black_box/shown/read_ppa.py");
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/black_box/shown/read_table.py");

async fn read(script: &str, args: &[&str]) -> Result<Value> {
    let text = check(script, args).await?;
    serde_json::from_str(&text).context(text)
}

/// A test with the PPA owner/name.
fn with_ppa(package: &str, env: &[&str]) -> Vec<u8> {
    let trigger = format!("{package}/2");
    body(package, &json!({"triggers": [trigger, "other/1"], "ppas": ["owner/name"], "env": env}))
}

#[tokio::test]
async fn ppa_dev_tools_reads_results_and_what_runs_and_waits() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().start().await?;
    let web = cluster.web().start().await?;
    let site = web.site_url()?;
    assert_eq!(
        read(PPA, &[&site, "owner", "name"]).await?,
        json!({"results": [], "running": [], "waiting": []})
    );
    let _worker = cluster.worker("one").arg("--slots", "2").start().await?;
    let (client, noble) = (cluster.client().await?, "debci-ppa-noble-amd64");
    let failed = ["COMMAND=1", "EXIT=4", "SUMMARY=smoke                FAIL non-zero exit status 1"];
    client.publish(noble, &with_ppa("green", &["COMMAND=1"])).await?;
    client.publish(noble, &with_ppa("red", &failed)).await?;
    cluster.done("green", 1).await?;
    cluster.done("red", 1).await?;
    let hold = format!("HOLD={}", cluster.folder().join("go").display());
    client.publish(noble, &with_ppa("blue", &[&hold])).await?;
    cluster.started("blue", 1).await?;
    // Another PPA, and one that nobody may read: this reader is told of neither.
    let private = json!({"ppas": ["owner/name"], "swiftuser": "sec", "readable-by": ["joe"]});
    let armhf = "debci-ppa-noble-armhf";
    client.publish(armhf, &body("hushhush", &private)).await?;
    client.publish(armhf, &body("grey", &json!({"ppas": ["owner/else"]}))).await?;
    client.publish(armhf, &with_ppa("amber", &[])).await?;
    let whole = async || {
        let read = read(PPA, &[&site, "owner", "name"]).await.ok()?;
        let n = |what: &str| read[what].as_array().map_or(0, Vec::len);
        ([n("results"), n("running"), n("waiting")] == [2, 1, 1]).then_some(read)
    };
    let read = wait_for("ppa-dev-tools to have read it all", PATIENCE, whole).await?;
    for (n, package, status) in [(0, "green", "PASS"), (1, "red", "FAIL")] {
        let result = &read["results"][n];
        assert_eq!(result["run"], json!([package, "noble", "amd64", status, ["smoke"]]), "{read}");
        let triggers = result["triggers"].as_str().unwrap_or_default();
        assert!(triggers.contains(&format!("/{package}/2 ")) && triggers.contains("/other/1 "), "{read}");
    }
    let job = |package: &str, arch: &str| {
        json!([package, "noble", arch, [format!("{package}/2"), "other/1"], ["owner/name"]])
    };
    assert_eq!(read["running"], json!([job("blue", "amd64")]));
    // Its number in the queue, behind the other PPA's.
    assert_eq!(read["waiting"], json!([[2, job("amber", "armhf")]]));
    Ok(())
}

#[tokio::test]
async fn a_script_reads_a_packages_table() -> Result<()> {
    let cluster = Cluster::on_folder().await?;
    let _dispatcher = cluster.dispatcher().arg("--releases", "jammy,noble").start().await?;
    let web = cluster.web().arg("--releases", "jammy,noble").start().await?;
    let _worker = cluster.worker("one").start().await?;
    let client = cluster.client().await?;
    for (n, code) in [0, 4, 2].into_iter().enumerate() {
        let asked = params(&format!("green/{n}"), &[&format!("EXIT={code}")]);
        client.publish("debci-noble-amd64", &body("green", &asked)).await?;
        cluster.done("green", i64::try_from(n)? + 1).await?;
        let word = if code == 4 { "fail" } else { "pass" };
        let table = read(TABLE, &[&format!("{}/packages/green", web.site_url()?)]).await?;
        assert_eq!(
            (&table["amd64"]["noble"], &table["amd64"]["jammy"]),
            (&json!(word), &json!("-")),
            "{table}"
        );
    }
    Ok(())
}
