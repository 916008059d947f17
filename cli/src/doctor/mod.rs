//! `proofhouse doctor`: what is missing on this machine, and how to get it.

mod check;
mod machine;
mod ports;
mod providers;
mod servers;

use std::fmt::Write as _;

use anyhow::Result;
use proofhouse_core::config::{Config, ProviderName, Role};
use serde::Serialize;

use self::check::Check;
pub(crate) use self::providers::provider_checks;
use crate::{
    args::DoctorArgs,
    print::{self, Paint},
    status::Status,
};

/// Everything that was found out.
#[derive(Debug, Serialize)]
struct Report {
    /// True where a worker could start here as configured.
    ok: bool,
    /// The provider that tests would run on.
    provider: Option<&'static str>,
    providers: Vec<ProviderReport>,
    machine: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct ProviderReport {
    name: &'static str,
    ok: bool,
    checks: Vec<Check>,
}

/// Looks at everything and reports.
pub(crate) async fn main(args: &DoctorArgs) -> Result<Status> {
    let config = Config::load_here(Role::Operator, &args.options)?;
    let report = examine(&config).await;
    if args.json {
        print::json(&report)?;
    } else {
        print::text(&text(&report, Paint::stdout()))?;
    }
    Ok(if report.ok { Status::Done } else { Status::Failed })
}

async fn examine(config: &Config) -> Report {
    let mut providers = Vec::new();
    for name in ProviderName::ALL {
        let checks = provider_checks(config, name).await;
        providers.push(ProviderReport { name: name.as_str(), ok: checks.iter().all(Check::is_good), checks });
    }
    let mut machine = servers::checks(config).await;
    machine.extend(ports::checks(config).await);
    Report::of(config.worker.provider, providers, machine)
}

impl Report {
    /// Without a configured provider the strongest that works is meant, but never `null`.
    fn of(configured: Option<ProviderName>, providers: Vec<ProviderReport>, machine: Vec<Check>) -> Self {
        let works = |name: &str| providers.iter().any(|p| p.name == name && p.ok);
        let provider = match configured {
            Some(name) => Some(name.as_str()),
            None => [ProviderName::Lxd, ProviderName::Unshare]
                .map(ProviderName::as_str)
                .into_iter()
                .find(|n| works(n)),
        };
        let ok = provider.is_some_and(works) && machine.iter().all(Check::is_good);
        Self { ok, provider, providers, machine }
    }
}

fn text(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    for provider in &report.providers {
        let used = if report.provider == Some(provider.name) { ", used here" } else { "" };
        let null =
            if provider.name == "null" { ", without any isolation: only where it is asked for" } else { "" };
        let _ = writeln!(text, "{}{used}{null}", paint.bold(&format!("provider {}", provider.name)));
        lines(&mut text, &provider.checks, paint);
    }
    let _ = writeln!(text, "{}", paint.bold("machine and servers"));
    lines(&mut text, &report.machine, paint);
    let verdict = match (report.ok, report.provider) {
        (true, Some(name)) => paint.green(&format!("✔ ready: tests run on {name}")),
        (false, Some(name)) => paint.red(&format!("✘ not ready: see what is not ok above (provider {name})")),
        (_, None) => paint.red("✘ not ready: no provider of testbeds works here"),
    };
    let _ = writeln!(text, "{verdict}");
    text
}

fn lines(text: &mut String, checks: &[Check], paint: Paint) {
    for check in checks {
        let sign = if check.ok { paint.green("✔ ok     ") } else { paint.red("✘ not ok ") };
        let _ = writeln!(text, "  {sign} {}: {}", check.name, check.detail);
        if let Some(fix) = &check.fix {
            let _ = writeln!(text, "              → {fix}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(configured: Option<ProviderName>, lxd: bool, unshare: bool) -> Report {
        let check = |ok| {
            if ok { Check::good("x", "there") } else { Check::bad("x", "not in PATH", "apt-get install x") }
        };
        let of = |name, ok| ProviderReport { name, ok, checks: vec![check(ok)] };
        let providers = vec![of("lxd", lxd), of("unshare", unshare), of("null", true)];
        Report::of(configured, providers, vec![Check::good("disk", "9 MiB free")])
    }

    #[test]
    fn what_the_verdict_rests_on() {
        for (configured, lxd, unshare, provider, ok) in [
            (None, true, true, Some("lxd"), true),
            (None, false, true, Some("unshare"), true),
            (None, false, false, None, false),
            (Some(ProviderName::Null), false, false, Some("null"), true),
            (Some(ProviderName::Lxd), false, true, Some("lxd"), false),
        ] {
            let report = report(configured, lxd, unshare);
            assert_eq!((report.provider, report.ok), (provider, ok));
        }
    }

    #[test]
    fn rendered() {
        insta::assert_snapshot!(text(&report(None, false, true), Paint::plain()));
    }
}
