//! Configuration: options win over the environment, the environment over the file, the file over the defaults.
//!
//! `settings` declares every setting once; `sources` reads them; [`Config`] is what a role gets: checked, with units.

mod check;
mod declare;
mod mistake;
pub mod reference;
mod secrets;
mod served;
mod settings;
mod sources;
mod urls;
mod value;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use self::{
    declare::{Given, Options, Setting},
    mistake::{BadConfig, Mistake, Place},
    secrets::make_seal_keys,
    served::Served,
    settings::SETTINGS,
    urls::{BusUrl, DatabaseUrl, SiteUrl, StoreUrl},
    value::{Network, ProviderName, Template},
};
use self::{settings::Settings, sources::Reading};
use crate::{
    lists,
    names::{Arch, Component, Pool, RequestQueue, WorkerName},
    params::SwiftUser,
    queue::PoolRules,
    rules::Rules,
    seal::SealKeys,
    tls::Authorities,
};

/// What a process is to be: it decides which settings are needed, and what `up` fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// All three in one process, with everything embedded where nothing else is configured.
    Up,
    /// Schedules, grants, publishes.
    Dispatcher,
    /// Runs tests.
    Worker,
    /// The site.
    Web,
    /// A command that an operator gives: it finds what `up` keeps under `--data`.
    Operator,
}

impl Role {
    /// The subcommand's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Dispatcher => "dispatcher",
            Self::Worker => "worker",
            Self::Web => "web",
            Self::Operator => "operator",
        }
    }

    /// True where this process does what `part` does.
    pub fn includes(self, part: Self) -> bool {
        self == part || (self == Self::Up && part != Self::Operator)
    }
}

/// A checked configuration. `Debug` prints no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it was checked for.
    pub role: Role,
    /// The file that was read, where there is one.
    pub file: Option<PathBuf>,
    /// Where the site listens.
    pub listen: SocketAddr,
    /// Where metrics and health are served.
    pub admin: SocketAddr,
    /// The folder of what must be on a disk. It may not exist yet.
    pub data: PathBuf,
    /// The job table; see [`Config::database`].
    pub database: Option<DatabaseUrl>,
    /// The broker; see [`Config::bus`].
    pub bus: Option<BusUrl>,
    /// The object store; see [`Config::store`].
    pub store: Option<StoreUrl>,
    /// Who may sign the certificates of these servers, beside those that the system trusts.
    pub authorities: Authorities,
    /// The release and arch pairs that are served.
    pub served: Served,
    /// The architectures that a worker serves: `arches`, and those of single pairs.
    pub arches: Vec<Arch>,
    /// Where the lists come from.
    pub lists: Option<lists::Source>,
    /// Queues on which bad requests are answered.
    pub answer_bad_requests: Vec<RequestQueue>,
    /// Which pools may run what.
    pub pool_rules: Arc<PoolRules>,
    /// How long a lease lasts.
    pub lease: Duration,
    /// How often a job is tried.
    pub retry_attempts: u32,
    /// The pause before the second attempt.
    pub retry_pause: Duration,
    /// After so long a parked job is reported as 16; none: never.
    pub parked_answer: Option<Duration>,
    /// What a worker needs.
    pub worker: Worker,
    /// The public URL of the site.
    pub site: Option<SiteUrl>,
    /// Who may read private runs that are asked for on the site.
    pub swiftuser: Option<SwiftUser>,
    /// Who is believed in whom they ask for.
    pub trusted_proxies: Vec<Network>,
    /// How many pages a second one address may ask the site for; 0: as many as it likes.
    pub address_rate: u32,
    /// What the published database holds.
    pub published: Published,
    /// The keys that seal credentials.
    pub seal_keys: Option<SealKeys>,
}

/// The published database.
#[derive(Debug, Clone)]
pub struct Published {
    /// How old results are at most, in days; 0: of any age.
    pub days: u32,
    /// The archive that says what is current.
    pub archive: Option<SiteUrl>,
    /// Its components.
    pub components: Vec<Component>,
}

/// The worker's part.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Its name, where one is configured.
    pub name: Option<WorkerName>,
    /// The machine whose testbeds it uses, where one is configured.
    pub host: Option<WorkerName>,
    /// The pools whose offers it takes, where some are configured.
    pub pools: Vec<Pool>,
    /// How many tests run at once; at least 1.
    pub slots: u32,
    /// The provider, where one is configured.
    pub provider: Option<ProviderName>,
    /// The program, a path or a name to look for in PATH.
    pub autopkgtest: PathBuf,
    /// Further arguments for it.
    pub autopkgtest_args: Vec<String>,
    /// Commands for the testbed.
    pub setup_commands: Vec<String>,
    /// The rules of the log; the shipped ones for a role that runs no tests.
    pub rules: Rules,
    /// In bytes: with less room on the disk no work is taken.
    pub min_free_bytes: u64,
    /// How many threads a run may have.
    pub run_threads: u32,
    /// How much of the disk a run may take, in bytes.
    pub run_disk_bytes: u64,
    /// How much of that may be log and artifacts, in bytes.
    pub run_output_bytes: u64,
    /// Provider lxd.
    pub lxd: Lxd,
    /// Provider unshare.
    pub unshare: Unshare,
    /// Provider null: further arguments for autopkgtest-virt-null.
    pub null_args: Vec<String>,
}

/// Settings of the provider lxd.
#[derive(Debug, Clone)]
pub struct Lxd {
    /// The remote; none is the local one.
    pub remote: Option<String>,
    /// The image's name.
    pub image: Template,
    /// Further arguments for autopkgtest-virt-lxd.
    pub args: Vec<String>,
    /// Arguments for `lxc launch` that give the usual size.
    pub size_default: Vec<String>,
    /// The same for big packages.
    pub size_big: Vec<String>,
}

/// Settings of the provider unshare.
#[derive(Debug, Clone)]
pub struct Unshare {
    /// The tarball; none: one is made under the data folder.
    pub tarball: Option<Template>,
    /// The archive that it is made from; none: the host's.
    pub mirror: Option<String>,
    /// How old a tarball that was made here may get.
    pub refresh: Duration,
}

impl Config {
    /// Reads the file that `options` or the environment name, puts the sources together and checks them for `role`.
    ///
    /// # Errors
    /// All mistakes that were found, with their places.
    pub fn load(
        role: Role,
        options: &Options,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BadConfig> {
        let mut given = Reading::options(options).over(Reading::environment(environment));
        if let Some(file) = given.draft.config.clone() {
            match std::fs::read_to_string(&file) {
                Ok(text) => given = given.over(Reading::file(&file, &text)),
                Err(e) => {
                    given.mistakes.push(Mistake::new(format!("{}: cannot be read: {e}", file.display())));
                }
            }
        }
        Self::of(role, given)
    }

    /// [`Config::load`] of a file's text, and of nothing else. `file` is for messages.
    ///
    /// # Errors
    /// All mistakes that were found, with their places.
    pub fn of_text(role: Role, file: &Path, text: &str) -> Result<Self, BadConfig> {
        Self::of(role, Reading::file(file, text))
    }

    /// [`Config::load`] with the environment of this process. Variables that are not UTF-8 are not ours.
    ///
    /// # Errors
    /// All mistakes that were found, with their places.
    pub fn load_here(role: Role, options: &Options) -> Result<Self, BadConfig> {
        let variables = std::env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
        Self::load(role, options, variables)
    }

    fn of(role: Role, given: Reading) -> Result<Self, BadConfig> {
        let Reading { draft, places, mut mistakes } = given;
        let unread = !mistakes.is_empty();
        let mut settings = draft.settle();
        let seal_keys = secrets::read(&mut settings, &places, &mut mistakes);
        let rules = read_rules(role, &settings, &mut mistakes);
        let pool_rules = read_pool_rules(&settings, &mut mistakes);
        let authorities = secrets::authorities(&settings, &places, &mut mistakes);
        let config = Self::settled(role, settings, seal_keys, authorities, rules, pool_rules);
        let config = config.with_defaults_of_role();
        // What could not be read would be reported once more as missing.
        if !unread {
            check::check(&config, &places, &mut mistakes);
        }
        if mistakes.is_empty() { Ok(config) } else { Err(BadConfig(mistakes)) }
    }

    fn settled(
        role: Role,
        s: Settings,
        seal_keys: Option<SealKeys>,
        authorities: Authorities,
        rules: Rules,
        pool_rules: PoolRules,
    ) -> Self {
        let served = Served::new(&s.releases.0, &s.arches.0, &s.pairs.0, &s.disabled_pairs.0);
        Self {
            role,
            arches: served.arches_with(&s.arches.0),
            served,
            file: s.config,
            listen: s.listen,
            admin: s.admin,
            data: s.data,
            database: s.database,
            bus: s.bus,
            store: s.store,
            authorities,
            lists: s.lists,
            pool_rules: Arc::new(pool_rules),
            answer_bad_requests: s.answer_bad_requests.0,
            lease: Duration::from_secs(s.lease_seconds.get().into()),
            retry_attempts: s.retry_attempts.get(),
            retry_pause: Duration::from_secs(s.retry_pause_seconds.get().into()),
            parked_answer: s
                .parked_answer_hours
                .map(|hours| Duration::from_secs(3600 * u64::from(hours.get()))),
            worker: Worker {
                name: s.name,
                host: s.host,
                pools: s.pools.0,
                slots: s.slots.get(),
                provider: s.provider,
                autopkgtest: s.autopkgtest,
                autopkgtest_args: s.autopkgtest_args.0,
                setup_commands: s.setup_commands.0,
                rules,
                min_free_bytes: u64::from(s.min_free_mib.get()) << 20,
                run_threads: s.run_threads.get(),
                run_disk_bytes: u64::from(s.run_disk_mib.get()) << 20,
                run_output_bytes: u64::from(s.run_output_mib.get()) << 20,
                lxd: Lxd {
                    remote: s.lxd_remote,
                    image: s.lxd_image,
                    args: s.lxd_args.0,
                    size_default: s.lxd_size_default.0,
                    size_big: s.lxd_size_big.0,
                },
                unshare: Unshare {
                    tarball: s.unshare_tarball,
                    mirror: s.unshare_mirror,
                    refresh: Duration::from_secs(u64::from(s.unshare_refresh_days.get()) * 86_400),
                },
                null_args: s.null_args.0,
            },
            site: s.site,
            swiftuser: s.swiftuser,
            trusted_proxies: s.trusted_proxies.0,
            address_rate: s.address_rate.get(),
            published: Published {
                days: s.published_days.get(),
                archive: s.archive,
                components: s.archive_components.0,
            },
            seal_keys,
        }
    }

    /// `up` keeps everything under its data folder, and an operator's command looks there.
    fn with_defaults_of_role(mut self) -> Self {
        if matches!(self.role, Role::Up | Role::Operator) {
            // Absolute, for a store's URL and address do not depend on a working directory.
            let data = std::path::absolute(&self.data).unwrap_or_else(|_| self.data.clone());
            self.database.get_or_insert_with(|| DatabaseUrl::Sqlite(data.join("proofhouse.db")));
            self.store.get_or_insert_with(|| StoreUrl::Folder(data.join("store")));
        }
        match self.role {
            Role::Up => drop(self.bus.get_or_insert(BusUrl::Local)),
            // The bus of an `up` that was given so: nothing that another process could reach.
            Role::Operator if self.bus == Some(BusUrl::Local) => self.bus = None,
            _ => {}
        }
        self
    }

    /// The job table.
    ///
    /// # Errors
    /// It is not configured; [`Config::load`] has refused that for roles that always need it.
    pub fn database(&self) -> Result<&DatabaseUrl, BadConfig> {
        self.database.as_ref().ok_or_else(|| check::missing(self.role, "database"))
    }

    /// The broker.
    ///
    /// # Errors
    /// It is not configured; [`Config::load`] has refused that for roles that always need it.
    pub fn bus(&self) -> Result<&BusUrl, BadConfig> {
        self.bus.as_ref().ok_or_else(|| check::missing(self.role, "bus"))
    }

    /// The object store.
    ///
    /// # Errors
    /// It is not configured; [`Config::load`] has refused that for roles that always need it.
    pub fn store(&self) -> Result<&StoreUrl, BadConfig> {
        self.store.as_ref().ok_or_else(|| check::missing(self.role, "store"))
    }
}

/// The rules of the log, for those who use them.
fn read_rules(role: Role, settings: &Settings, mistakes: &mut Vec<Mistake>) -> Rules {
    let used = role.includes(Role::Worker) || role == Role::Operator;
    let Some(file) = settings.rules.as_ref().filter(|_| used) else { return Rules::default() };
    Rules::load(file).unwrap_or_else(|bad| {
        mistakes.extend(bad.0);
        Rules::default()
    })
}

/// The rules of pools.
fn read_pool_rules(settings: &Settings, mistakes: &mut Vec<Mistake>) -> PoolRules {
    let Some(file) = &settings.pool_rules else { return PoolRules::default() };
    let read = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"));
    let parsed = read.and_then(|text| PoolRules::parse(&text).map_err(|bad| bad.to_string()));
    parsed.unwrap_or_else(|what| {
        mistakes.push(Mistake::new(format!("{}: {what}", file.display())));
        PoolRules::default()
    })
}

#[cfg(test)]
mod tests;
