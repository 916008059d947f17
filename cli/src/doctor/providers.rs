//! What each provider of testbeds needs.

use std::path::Path;

use proofhouse_core::{
    config::{Config, ProviderName},
    names::Pair,
};

use super::{
    check::Check,
    machine::{find, output, program, subordinate_ids},
};

/// Everything that a provider needs on this machine.
pub(crate) async fn provider_checks(config: &Config, provider: ProviderName) -> Vec<Check> {
    let mut checks = vec![autopkgtest(&config.worker.autopkgtest)];
    // A checkout brings its servers beside it.
    if config.worker.autopkgtest.components().count() == 1 {
        checks.push(program(&format!("autopkgtest-virt-{provider}"), "autopkgtest"));
    }
    match provider {
        ProviderName::Null => {}
        ProviderName::Unshare => checks.extend(unshare(config).await),
        ProviderName::Lxd => checks.extend(lxd(config).await),
    }
    checks
}

fn autopkgtest(path: &Path) -> Check {
    if let Some(found) = find(path) {
        return Check::good("autopkgtest", found.display().to_string());
    }
    let detail = format!("{} cannot be run", path.display());
    Check::bad("autopkgtest", detail, "apt-get install autopkgtest, or name it with --autopkgtest")
}

async fn unshare(config: &Config) -> Vec<Check> {
    let mut checks = vec![program("newuidmap", "uidmap"), program("newgidmap", "uidmap")];
    checks.extend(["/etc/subuid", "/etc/subgid"].map(ids));
    checks.push(match output("unshare", &["--user", "true"]).await {
        Ok(_) => Check::good("user namespaces", "allowed"),
        Err(reason) => Check::bad(
            "user namespaces",
            reason,
            "sysctl kernel.unprivileged_userns_clone=1; in a chroot the kernel allows none: enter it with pivot_root, as \
             systemd-nspawn and bwrap do",
        ),
    });
    match &config.worker.unshare.tarball {
        None => checks.push(program("mmdebstrap", "mmdebstrap")),
        Some(tarball) => {
            let pairs = config.served.pairs().filter(|pair| config.served.is_on(pair));
            checks.extend(pairs.map(|pair| file_check(pair, &tarball.fill_path(pair))));
        }
    }
    checks
}

fn file_check(pair: &Pair, path: &Path) -> Check {
    let name = format!("tarball of {pair}");
    if path.is_file() {
        return Check::good(name, path.display().to_string());
    }
    Check::bad(name, format!("{} is missing", path.display()), "make it, or leave unshare_tarball out")
}

fn ids(file: &str) -> Check {
    let id = nix::unistd::geteuid();
    let user =
        nix::unistd::User::from_uid(id).ok().flatten().map_or_else(|| id.to_string(), |user| user.name);
    let text = std::fs::read_to_string(file).unwrap_or_default();
    if let Some(line) = subordinate_ids(&text, &user, id.as_raw()) {
        return Check::good(file, line);
    }
    let fix = format!("echo {user}:100000:65536 >>{file} (as root; a range that nobody has yet)");
    Check::bad(file, format!("{user} has no range of 65536 ids"), fix)
}

async fn lxd(config: &Config) -> Vec<Check> {
    let mut checks = vec![program("lxc", "lxd lxd-client")];
    if !checks[0].is_good() {
        return checks;
    }
    let remote = config.worker.lxd.remote.as_deref().unwrap_or("local");
    match output("lxc", &["query", &format!("{remote}:/1.0")]).await {
        Ok(_) => checks.push(Check::good("LXD", format!("{remote}: answers"))),
        Err(reason) => {
            let fix = "start LXD and run `lxd init --auto`, or name another remote with --lxd-remote";
            checks.push(Check::bad("LXD", format!("{remote}: {reason}"), fix));
            return checks;
        }
    }
    for pair in config.served.pairs().filter(|pair| config.served.is_on(pair)) {
        checks.push(image(remote, &config.worker.lxd.image.fill(pair, false)).await);
    }
    checks
}

async fn image(remote: &str, name: &str) -> Check {
    match output("lxc", &["image", "info", &format!("{remote}:{name}")]).await {
        Ok(_) => Check::good(format!("image {name}"), "there"),
        Err(reason) => {
            let fix = format!("autopkgtest-build-lxd makes one; publish it as {name}");
            Check::bad(format!("image {name}"), reason, fix)
        }
    }
}
