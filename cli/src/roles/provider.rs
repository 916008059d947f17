//! The worker's provider: as configured, or the strongest that works on this machine.

use anyhow::Result;
use proofhouse_core::config::{Config, ProviderName};
use proofhouse_worker::{Lxd, Provider, Unshare};

use crate::{doctor::provider_checks, status::Misuse};

/// The provider with its settings.
pub(super) async fn settings(config: &Config) -> Result<Provider> {
    let name = match config.worker.provider {
        Some(name) => name,
        None => strongest(config).await?,
    };
    tracing::info!(worker.provider = name.as_str(), "testbeds come from the provider {name}");
    if name == ProviderName::Unshare && nix::unistd::geteuid().is_root() {
        tracing::warn!(
            "this worker is root, and so is a test that breaks out of its testbed: unshare is for packages that you trust \
             (docs/explanation/hostile-packages.md)"
        );
    }
    Ok(of(config, name))
}

/// The strongest that works here. Never `null`: packages would be installed on this machine without anybody having said so.
pub(crate) async fn strongest(config: &Config) -> Result<ProviderName> {
    let mut missing = Vec::new();
    for name in [ProviderName::Lxd, ProviderName::Unshare] {
        let checks = provider_checks(config, name).await;
        let bad: Vec<&str> = checks.iter().filter(|c| !c.is_good()).map(|c| c.name.as_str()).collect();
        if bad.is_empty() {
            return Ok(name);
        }
        missing.push(format!("{name} lacks {}", bad.join(", ")));
    }
    Err(Misuse(format!(
        "no provider of testbeds works on this machine ({}): `proofhouse doctor` says what to install, \
         --provider names one",
        missing.join("; ")
    ))
    .into())
}

fn of(config: &Config, name: ProviderName) -> Provider {
    let worker = &config.worker;
    match name {
        ProviderName::Null => Provider::Null { args: worker.null_args.clone() },
        ProviderName::Unshare => Provider::Unshare(Unshare {
            tarball: worker.unshare.tarball.as_ref().map(|t| t.as_str().to_owned()),
            mirror: worker.unshare.mirror.clone(),
            refresh: worker.unshare.refresh,
        }),
        ProviderName::Lxd => Provider::Lxd(Lxd {
            remote: worker.lxd.remote.clone(),
            image: worker.lxd.image.as_str().to_owned(),
            args: worker.lxd.args.clone(),
            size_default: worker.lxd.size_default.clone(),
            size_big: worker.lxd.size_big.clone(),
        }),
    }
}
