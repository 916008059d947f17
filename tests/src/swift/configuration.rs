//! The files that Swift's servers read.

use std::path::Path;

use crate::certificates::ServerFiles;

use super::{ACCOUNTS, PASSWORD, account_name};

/// Who knows the users.
#[derive(Debug, Clone)]
pub(crate) enum Auth {
    /// Swift itself, by its configuration.
    Tempauth,
    /// Keystone.
    Keystone {
        /// Its address, ending in `/v3`.
        url: String,
        /// Swift's own user there, in the project of the same name.
        user: &'static str,
        /// The user's password.
        password: &'static str,
    },
}

/// `swift.conf`: what all servers must agree on.
pub(super) const SWIFT: &str = "\
[swift-hash]
swift_hash_path_suffix = lab
swift_hash_path_prefix = lab
[storage-policy:0]
name = default
default = yes
[swift-constraints]
";

/// The file of the account, container or object server.
pub(super) fn storage(dir: &Path, user: &str, kind: &str, port: u16) -> String {
    format!(
        "{}devices = {}/srv\nmount_check = false\nfallocate_reserve = 0\ndisable_fallocate = true\n\
         [pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n",
        defaults(dir, user, port),
        dir.display()
    )
}

/// The file of the proxy server, with the pipeline of a usual public cloud, in Swift's recommended order.
pub(super) fn proxy(
    dir: &Path,
    user: &str,
    port: u16,
    tls: Option<&ServerFiles>,
    memcached: u16,
    auth: &Auth,
) -> String {
    let tls = tls.map_or_else(String::new, |files| {
        format!("cert_file = {}\nkey_file = {}\n", files.certificate.display(), files.key.display())
    });
    let (filters, sections) = match auth {
        Auth::Tempauth => ("s3api tempauth", tempauth()),
        Auth::Keystone { url, user, password } => ("authtoken keystoneauth", keystone(url, user, password)),
    };
    let plain = FILTERS.map(|name| format!("[filter:{name}]\nuse = egg:swift#{name}\n")).concat();
    format!(
        "{}{tls}[pipeline:main]\n\
         pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk tempurl {filters} \
         copy slo dlo proxy-server\n\
         {PROXY_APP}{sections}{plain}[filter:proxy-logging]\nuse = egg:swift#proxy_logging\n\
         [filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{memcached}\n",
        defaults(dir, user, port)
    )
}

/// Those whose section says nothing more than their name.
const FILTERS: [&str; 9] =
    ["catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "tempurl", "copy", "slo", "dlo"];

/// The S3 API; users and passwords are its keys.
const S3API: &str = "\
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
dns_compliant_bucket_names = false
check_bucket_owner = false
location = us-east-1
";

const PROXY_APP: &str = "\
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
# The only server of a kind is asked again at once, however often it failed.
error_suppression_limit = 1000000000
";

fn defaults(dir: &Path, user: &str, port: u16) -> String {
    format!(
        "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nuser = {user}\nworkers = 0\nswift_dir = {}\n\
         log_level = INFO\n",
        dir.display()
    )
}

fn tempauth() -> String {
    let users: String = (0..ACCOUNTS)
        .map(account_name)
        .flat_map(|account| {
            [("admin", ".admin"), ("reader", ""), ("writer", "")]
                .map(|(user, groups)| format!("user_{account}_{user} = {PASSWORD} {groups}\n"))
        })
        .collect();
    format!("{S3API}[filter:tempauth]\nuse = egg:swift#tempauth\ntoken_life = 86400\n{users}")
}

fn keystone(url: &str, user: &str, password: &str) -> String {
    format!(
        "[filter:authtoken]\npaste.filter_factory = keystonemiddleware.auth_token:filter_factory\n\
         www_authenticate_uri = {url}\nauth_type = password\nauth_url = {url}\nusername = {user}\n\
         password = {password}\nproject_name = {user}\nuser_domain_id = default\nproject_domain_id = default\n\
         delay_auth_decision = true\ncache = swift.cache\ninterface = public\ninclude_service_catalog = false\n\
         [filter:keystoneauth]\nuse = egg:swift#keystoneauth\noperator_roles = admin, member\n"
    )
}
