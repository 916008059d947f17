//! What a machine shows of the roles that run on it: sockets, arguments, what is left of a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::process::ExitStatusExt,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use nix::{sys::signal::Signal, unistd::Pid};
use proofhouse_tests::{
    cluster::{Cluster, PATIENCE, SEAL_KEY, body, params},
    keeper::Keeper,
    proofhouse::{Proofhouse, binary},
    roles::ROLE_PASSWORD,
    wait::wait_for,
};

/// Roles and their listening settings, as docs/reference/sockets.md lists them.
fn listed() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/sockets.md"))?;
    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, role, setting, address, ..] = &cells[..] else { anyhow::bail!("{row}") };
        let address: SocketAddr = address.parse().with_context(|| row.to_owned())?;
        ensure!(address.ip().is_loopback(), "{row}: nothing is open to others unless somebody wants it");
        listed.entry((*role).to_owned()).or_default().insert((*setting).to_owned());
    }
    Ok(listed)
}

/// What these processes listen on: TCP, UDP without a peer, raw and Unix sockets.
fn sockets(pids: &[Pid]) -> Result<BTreeSet<String>> {
    let mut inodes = BTreeSet::new();
    for pid in pids {
        // One that has ended holds none.
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let targets = open.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        inodes.extend(targets.filter_map(|target| {
            let target = target.to_str()?.strip_prefix("socket:[")?;
            Some(target.strip_suffix(']')?.to_owned())
        }));
    }
    let mut found = BTreeSet::new();
    for (table, state) in
        [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07"), ("raw", "07"), ("raw6", "07")]
    {
        let Ok(text) = fs::read_to_string(format!("/proc/net/{table}")) else { continue };
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[3] == state && inodes.contains(words[9]) {
                found.insert(format!("{} {}", table.trim_end_matches('6'), address(words[1])?));
            }
        }
    }
    for line in fs::read_to_string("/proc/net/unix")?.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let listens = u32::from_str_radix(words[3], 16)? & 0x1_0000 != 0;
        if listens && inodes.contains(words[6]) {
            found.insert(format!("unix {}", words.get(7).unwrap_or(&"")));
        }
    }
    Ok(found)
}

/// `0100007F:1F90`: words of the machine's own byte order, then the port.
fn address(text: &str) -> Result<SocketAddr> {
    let (ip, port) = text.split_once(':').context("a port")?;
    let words: Vec<u8> = (0..ip.len() / 8)
        .map(|n| Ok(u32::from_str_radix(&ip[8 * n..8 * n + 8], 16)?.to_ne_bytes()))
        .collect::<Result<Vec<_>>>()?
        .concat();
    let ip = match <[u8; 4]>::try_from(&words[..]) {
        Ok(v4) => IpAddr::from(Ipv4Addr::from(v4)),
        Err(_) => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(&words[..])?)),
    };
    Ok(SocketAddr::new(ip, u16::from_str_radix(port, 16)?))
}

fn listens_as_listed(role: &str, process: &Proofhouse) -> Result<()> {
    let listed = listed()?;
    let expected = listed.get(role).with_context(|| format!("{role} is not listed"))?;
    let host = |url: String| url.trim_start_matches("http://").to_owned();
    let expected = expected.iter().map(|setting| match setting.as_str() {
        "admin" => Ok(format!("tcp {}", host(process.admin_url()))),
        "listen" => Ok(format!("tcp {}", host(process.site_url()?))),
        other => anyhow::bail!("{role} listens by {other}"),
    });
    assert_eq!(sockets(&process.processes())?, expected.collect::<Result<_>>()?, "{role}");
    Ok(())
}

/// No process of a role has a secret in its arguments, and no log.
fn keeps_its_secrets(role: &str, process: &Proofhouse, secrets: &[String]) -> Result<()> {
    for pid in process.processes() {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        let told = secrets.iter().find(|secret| arguments.contains(*secret));
        ensure!(told.is_none(), "{role}: {arguments}");
    }
    let log = process.log();
    ensure!(!secrets.iter().any(|secret| log.contains(secret)), "{role} logged a secret: {log}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.process().pid()?))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).context("core")?;
    // Zero would leave it to a program that collects crashes.
    ensure!(core.split_whitespace().nth(4) == Some("1"), "{role}: {core}");
    Ok(())
}

#[tokio::test]
async fn every_socket_is_listed_and_no_secret_is_shown() -> Result<()> {
    let cluster = Cluster::on_swift().await?;
    let dispatcher = cluster.dispatcher().urls_by_environment().start().await?;
    let worker = cluster.worker("seen").urls_by_environment().start().await?;
    let web = cluster.web().urls_by_environment().start().await?;
    // While a test runs, with its guard and all that is below.
    let go = cluster.folder().join("go");
    let client = cluster.client().await?;
    let held = params("green/2", &[&format!("HOLD={}", go.display())]);
    client.publish("debci-noble-amd64", &body("green", &held)).await?;
    cluster.started("green", 1).await?;
    let environment = match &cluster.results {
        proofhouse_tests::cluster::Results::Swift(account) => account.env_of("admin"),
        _ => unreachable!("a cluster on Swift"),
    };
    let of_store =
        environment.into_iter().filter(|(name, _)| name.contains("PASSWORD")).map(|(_, value)| value);
    let secrets: Vec<String> =
        [ROLE_PASSWORD.to_owned(), SEAL_KEY.to_owned()].into_iter().chain(of_store).collect();
    for (role, process) in [("dispatcher", &dispatcher), ("worker", &worker), ("web", &web)] {
        listens_as_listed(role, process)?;
        keeps_its_secrets(role, process, &secrets)?;
    }
    ensure!(worker.processes().len() > 2, "a guard and a test run");
    fs::write(&go, "")?;
    cluster.done("green", 1).await?;
    client.close().await
}

#[tokio::test]
async fn up_listens_as_listed() -> Result<()> {
    let up = Proofhouse::role("up")
        .arg("--releases", "noble")
        .arg("--arches", "amd64")
        .arg("--provider", "null")
        .start()
        .await?;
    listens_as_listed("up", &up)?;
    let key = fs::read_to_string(up.data().join("seal.key")).unwrap_or_default();
    let secrets: Vec<String> = key.lines().map(str::to_owned).collect();
    keeps_its_secrets("up", &up, &secrets)
}

/// An error names server and account, not the password.
#[tokio::test]
async fn errors_keep_passwords() -> Result<()> {
    let env = [
        ("PROOFHOUSE_DATABASE", format!("postgres://joe:{ROLE_PASSWORD}@127.0.0.1:1/none")),
        ("PROOFHOUSE_BUS", format!("amqp://joe:{ROLE_PASSWORD}@127.0.0.1:1/none")),
        ("PROOFHOUSE_STORE", "swift+http://127.0.0.1:1/auth/v1.0".to_owned()),
        ("OS_PASSWORD", ROLE_PASSWORD.to_owned()),
        ("OS_USERNAME", "joe".to_owned()),
        ("PROOFHOUSE_SEAL_KEY", format!("{SEAL_KEY}0")),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    for args in [
        &["queue", "ls"][..],
        &["doctor"],
        &["parked", "ls"],
        &["reindex"],
        &["dispatcher"],
        &["config", "check"],
    ] {
        for env in [&env[..], &env[..5]] {
            // The dispatcher waits for its servers where its configuration is right.
            if args == ["dispatcher"] && env.len() == 5 {
                continue;
            }
            let output = proofhouse_tests::proofhouse::run(args, env).await?;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            ensure!(!said.contains(ROLE_PASSWORD) && !said.contains(SEAL_KEY), "{args:?}: {said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_crash_leaves_no_core() -> Result<()> {
    let keeper = Keeper::new("crash")?;
    // Where the machine wants cores, as far as it lets us ask for them.
    let mut command = keeper.command("sh");
    command.args(["-c", "ulimit -c \"$(ulimit -H -c)\"; exec \"$@\"", "sh"]).arg(binary()?);
    command.args(["up", "--admin", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--provider", "null"]);
    command.args(["--releases", "noble", "--arches", "amd64", "--data", "data"]).current_dir(keeper.dir());
    let process = keeper.spawn("up", &mut command)?;
    wait_for("the role to start", PATIENCE, async || {
        process.log().contains("metrics and health on").then_some(())
    })
    .await?;
    process.signal(Signal::SIGABRT)?;
    let ended = process.wait(PATIENCE).await?;
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(Signal::SIGABRT as i32), false));
    ensure!(!has_core(keeper.dir())?, "a core in {}", keeper.dir().display());
    Ok(())
}

fn has_core(folder: &Path) -> Result<bool> {
    let entries: Result<Vec<_>, _> = fs::read_dir(folder)?.collect();
    Ok(entries?.iter().any(|entry| entry.file_name().to_string_lossy().starts_with("core")))
}
