//! The settings. Each is declared here and nowhere else; see [`settings!`](super::declare) for what becomes of it.

use std::{net::SocketAddr, path::PathBuf};

use toml::de::DeValue;

use super::{
    declare::{Given, Setting, default_text, settings, settled, settled_type},
    urls::{BusUrl, DatabaseUrl, SiteUrl, StoreUrl},
    value::{Commas, Lines, Network, ProviderName, Secret, Template, Value, Whole},
};
use crate::{
    lists,
    names::{Arch, Component, Pair, Pool, Release, RequestQueue, WorkerName},
    params::SwiftUser,
};

settings! {
    "Servers" {
        /// The TOML file with settings.
        config: PathBuf, NotInFile "FILE";
        /// Where the site listens (web, up).
        listen: SocketAddr, Anywhere "ADDR", default "127.0.0.1:8080";
        /// Where metrics and health are served: /metrics, /healthz, /readyz. Port 0 takes a free one and logs it.
        admin: SocketAddr, Anywhere "ADDR", default "127.0.0.1:8081";
        /// The folder of what must be on a disk: working folders, testbeds, lists; for `up` the database and the store too.
        data: PathBuf, Anywhere "DIR", default "./proofhouse-data";
        /// The job table: postgres://user@host/name or sqlite:///path. `up` takes a SQLite file under --data.
        database: DatabaseUrl, Anywhere "URL";
        /// A file with the password for the URL of `database`, which then holds none.
        database_password_file: PathBuf, Anywhere "FILE";
        /// The broker: amqp[s]://user@host[:port][/vhost]; without a path the vhost is "/". `up` takes local:, within its process.
        bus: BusUrl, Anywhere "URL";
        /// A file with the password for the URL of `bus`, which then holds none.
        bus_password_file: PathBuf, Anywhere "FILE";
        /// The object store: swift+https://auth-url (credentials from OS_* or clouds.yaml), s3://bucket?endpoint=URL&region=NAME (credentials from AWS_* or a profile; s3://?endpoint=URL has a bucket per container) or file:///dir. `up` takes a folder under --data.
        store: StoreUrl, Anywhere "URL";
        /// A PEM file with certificate authorities that are trusted beside the system's: for broker, database, store and archive alike.
        ca_file: PathBuf, Anywhere "FILE";
    }
    "What is served" {
        /// The releases served, on each of `arches`.
        releases: Commas<Release>, Anywhere "RELEASE,…", default "";
        /// The architectures served, for each of `releases`. A worker serves these.
        arches: Commas<Arch>, Anywhere "ARCH,…", default "";
        /// Single pairs that are served beside `releases` × `arches`.
        pairs: Commas<Pair>, Anywhere "RELEASE/ARCH,…", default "";
        /// Pairs that are configured but switched off: their requests are answered with exit code 99.
        disabled_pairs: Commas<Pair>, Anywhere "RELEASE/ARCH,…", default "";
        /// A folder or git URL with the lists big_packages, long_tests, never_run, vm_packages; read again every minute.
        lists: lists::Source, Anywhere "DIR|URL";
        /// A file with the rules by which jobs find their pools; without one each architecture is a pool. The dispatcher sorts by them; the site, `queue show` and `request --wait` explain by them, and need the same. See docs/how-to/pools.md.
        pool_rules: PathBuf, Anywhere "FILE";
        /// Queues on which a bad request that can be read in part is answered with a result of exit code 20.
        answer_bad_requests: Commas<RequestQueue>, Anywhere "QUEUE,…", default "";
    }
    "Leases and retries" {
        /// How long a worker keeps a test without being heard of, in seconds; it renews every third of it.
        lease_seconds: Whole<1, 86_400>, Anywhere "N", default "60";
        /// How often a test is tried whose failures are not the package's, before an operator must look.
        retry_attempts: Whole<1, 100>, Anywhere "N", default "3";
        /// The pause before the second attempt, in seconds; later ones grow.
        retry_pause_seconds: Whole<0, 604_800>, Anywhere "N", default "300";
        /// After so many hours a parked test is reported to its gate with exit code 16, but never a baseline; without a value the gate waits until an operator has it retried.
        parked_answer_hours: Whole<1, 8760>, Anywhere "N";
    }
    "Worker" {
        /// The worker's name, the same after a restart; the host's name where none is given.
        name: WorkerName, Anywhere "NAME";
        /// The machine whose testbeds this worker uses, by which its health is counted; the LXD remote, or this host's name, where none is given.
        host: WorkerName, Anywhere "NAME";
        /// The pools whose offers it takes, as the pool rules name them; the architectures that it serves where none is given.
        pools: Commas<Pool>, Anywhere "POOL,…", default "";
        /// How many tests run at once in this process.
        slots: Whole<1, 10_000>, Anywhere "N", default "1";
        /// Where testbeds come from: lxd, unshare or null. Without a value the strongest that works here.
        provider: ProviderName, Anywhere "NAME";
        /// The program that is run as autopkgtest, found in PATH.
        autopkgtest: PathBuf, Anywhere "FILE", default "autopkgtest";
        /// Further arguments for autopkgtest, one a line.
        autopkgtest_args: Lines, Anywhere "ARGS", default "";
        /// Commands that autopkgtest runs in the testbed before a test (--setup-commands), one a line.
        setup_commands: Lines, Anywhere "COMMANDS", default "";
        /// A file with rules of the log, which are read before the shipped ones: `proofhouse rules ls` shows all.
        rules: PathBuf, Anywhere "FILE";
        /// The worker takes no work while the disk of --data has less room than this, in MiB.
        min_free_mib: Whole<0, 4_000_000_000>, Anywhere "N", default "2048";
        /// How many threads a run may have on this machine at once, those of all its processes together; packages of the list big_packages five times as many. With more it is killed and has failed (exit code 4). Testbeds of lxd are elsewhere: for them `limits.processes` in lxd.size_default holds.
        run_threads: Whole<100, 4_000_000>, Anywhere "N", default "4096";
        /// How much of the disk of --data a run may take, testbed and all, in MiB; packages of the list big_packages five times as much. With more it is killed and has failed (exit code 4), and also with more than 64 files for each MiB where the disk has room for few more. The disk needs so much for every slot.
        run_disk_mib: Whole<10, 4_000_000_000>, Anywhere "N", default "20480";
        /// How much of that may be its log and artifacts, in MiB; packages of the list big_packages five times as much. With more it is killed and has failed (exit code 4); artifacts that would be larger in their archive are left out.
        run_output_mib: Whole<1, 4_000_000_000>, Anywhere "N", default "2048";
    }
    "Site" {
        /// The URL under which the outside sees the site; links in messages begin with it.
        site: SiteUrl, Anywhere "URL";
        /// The store user who may read private runs that are asked for on the site.
        swiftuser: SwiftUser, Anywhere "USER";
        /// Proxies before the site, by address or network: whom they name in X-Forwarded-For is who asks. From nobody else is that believed.
        trusted_proxies: Commas<Network>, Anywhere "ADDR,…", default "";
        /// How many pages a second one address may ask for in the long run; ten seconds' worth may come at once. A costly page counts as five, a file as a tenth of one. 0 is no limit, and this machine's own address has none.
        address_rate: Whole<0, 100_000>, Anywhere "N", default "100";
    }
    "Published database" {
        /// How old results are at most in /static/autopkgtest.db, in days; 0: of any age. Clients fetch all of it.
        published_days: Whole<0, 36_500>, Anywhere "N", default "0";
        /// The archive whose Sources indexes say what is current, for the table current_version (dispatcher, up); without a value it stays empty.
        archive: SiteUrl, Anywhere "URL";
        /// The components of this archive.
        archive_components: Commas<Component>, Anywhere "NAME,…", default "main,restricted,universe,multiverse";
    }
    "Secrets" {
        /// The keys that seal credentials in requests: 64 hex digits a line, the newest first; the same for every role.
        seal_key: Secret, NotAsOption "KEY";
        /// A file with these keys. `up` makes one under --data where neither is given.
        seal_key_file: PathBuf, Anywhere "FILE";
    }
    "Provider lxd" {
        /// The LXD remote; without a value the local one.
        lxd_remote: String, Anywhere "NAME";
        /// The image; {release} and {arch} are filled in, and {vm} with "/vm" for a virtual machine or else nothing.
        lxd_image: Template, Anywhere "NAME", default "autopkgtest/{release}/{arch}{vm}";
        /// Further arguments for autopkgtest-virt-lxd, one a line.
        lxd_args: Lines, Anywhere "ARGS", default "";
        /// Arguments for `lxc launch` that give a testbed its size, one a line. A virtual machine gets no limits.processes, which LXD has for containers alone.
        lxd_size_default: Lines, Anywhere "ARGS", default "--config=limits.cpu=2\n--config=limits.memory=4GiB\n--config=limits.processes=4096\n--device=root,size=20GiB";
        /// The same for packages of the list big_packages.
        lxd_size_big: Lines, Anywhere "ARGS", default "--config=limits.cpu=4\n--config=limits.memory=8GiB\n--config=limits.processes=16384\n--device=root,size=100GiB";
    }
    "Provider unshare" {
        /// The tarball of the testbed; {release} and {arch} are filled in. Without a value it is made under --data.
        unshare_tarball: Template, Anywhere "FILE";
        /// The archive that tarballs are made from; without a value the one that this host uses.
        unshare_mirror: String, Anywhere "URL";
        /// A tarball that was made here is made anew when it is older than this, in days.
        unshare_refresh_days: Whole<1, 3650>, Anywhere "N", default "7";
    }
    "Provider null" {
        /// Further arguments for autopkgtest-virt-null, one a line.
        null_args: Lines, Anywhere "ARGS", default "";
    }
}
