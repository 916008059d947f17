//! A Keystone of one's own, on SQLite, with a Swift that trusts it: what a store in an OpenStack cloud looks like.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};
use nix::unistd::{getegid, geteuid};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    keeper::{Keeper, run},
    ports::free_port,
    swift::{Auth, PYTHON, Swift},
    wait::wait_until_ok,
};

/// The password of every user, easy to find where it must not be.
pub const PASSWORD: &str = "keystone-sekrit";

/// The cloud's administrator and its project; Swift uses it too.
const ADMIN: &str = "admin";
const REGION: &str = "RegionOne";
/// Where the catalogue names Swift's address with TLS.
const TLS_REGION: &str = "RegionTls";

/// Keystone and Swift.
#[derive(Debug)]
pub struct Cloud {
    swift: Swift,
    address: SocketAddr,
    url: String,
    _keeper: Keeper,
}

/// A project with one user of the same name, who has the role `member`.
#[derive(Debug, Clone)]
pub struct Project {
    /// The name of project and user.
    pub name: String,
    /// The project's id, which is in its account's address.
    pub id: String,
    /// The user's id, as in a container's access rules.
    pub user_id: String,
    auth_url: String,
    region: &'static str,
    swift_port: u16,
}

impl Cloud {
    /// Starts both and waits until they serve (about 20 s: Keystone makes its tables).
    pub async fn start() -> Result<Self> {
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}/v3");
        let keeper = Keeper::new("keystone")?;
        let auth = Auth::Keystone { url: url.clone(), user: ADMIN, password: PASSWORD };
        let (made, swift) = tokio::join!(start_keystone(&keeper, port, &url), Swift::start_with(auth));
        made?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let cloud = Self { swift: swift?, address, url, _keeper: keeper };
        cloud.register_swift().await?;
        Ok(cloud)
    }

    /// Host and port of Keystone.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The Swift.
    pub fn swift(&self) -> &Swift {
        &self.swift
    }

    /// Makes a project with a user (letters, digits, `-`).
    pub async fn project(&self, name: &str) -> Result<Project> {
        let project = self.ask(Method::POST, "/projects", json!({"project": {"name": name}})).await?;
        let id = text(&project["project"]["id"])?;
        let body = json!({"user": {"name": name, "password": PASSWORD, "default_project_id": id}});
        let user_id = text(&self.ask(Method::POST, "/users", body).await?["user"]["id"])?;
        let roles = self.ask(Method::GET, "/roles?name=member", Value::Null).await?;
        let role = text(&roles["roles"][0]["id"])?;
        self.ask(Method::PUT, &format!("/projects/{id}/users/{user_id}/roles/{role}"), Value::Null).await?;
        let (auth_url, swift_port) = (self.url.clone(), self.swift.port());
        Ok(Project { name: name.to_owned(), id, user_id, auth_url, region: REGION, swift_port })
    }

    /// Swift's place in the catalogue that clients read.
    async fn register_swift(&self) -> Result<()> {
        let body = json!({"service": {"type": "object-store", "name": "swift"}});
        let id = text(&self.ask(Method::POST, "/services", body).await?["service"]["id"])?;
        self.ask(Method::POST, "/regions", json!({"region": {"id": TLS_REGION}})).await?;
        let plain = format!("http://127.0.0.1:{}", self.swift.port());
        let tls = format!("https://127.0.0.1:{}", self.swift.tls_port());
        for (region, base) in [(REGION, plain), (TLS_REGION, tls)] {
            let url = format!("{base}/v1/AUTH_$(project_id)s");
            let endpoint = json!({"service_id": id, "interface": "public", "region_id": region, "url": url});
            self.ask(Method::POST, "/endpoints", json!({"endpoint": endpoint})).await?;
        }
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let token = token(&self.url, ADMIN).await?;
        let mut request = reqwest::Client::new()
            .request(method, format!("{}{path}", self.url))
            .header("X-Auth-Token", token);
        if !body.is_null() {
            request = request.json(&body);
        }
        // On SQLite a change fails while another request still reads.
        let answer = wait_until_ok("Keystone's answer", Duration::from_secs(30), async || {
            request
                .try_clone()
                .context("a body that can be sent again")?
                .send()
                .await?
                .error_for_status()
                .map_err(anyhow::Error::from)
        });
        let answer = answer.await?.text().await?;
        if answer.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&answer)?) }
    }
}

impl Project {
    /// The public address of the account: `{public_url}/{container}/{object}`.
    pub fn public_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/AUTH_{}", self.swift_port, self.id)
    }

    /// The store's URL as Proofhouse takes it.
    pub fn store_url(&self) -> String {
        format!("swift+{}", self.auth_url)
    }

    /// The credentials as a store's clients read them from the environment.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("OS_AUTH_URL", &*self.auth_url),
            ("OS_USERNAME", &self.name),
            ("OS_PASSWORD", PASSWORD),
            ("OS_PROJECT_NAME", &self.name),
            ("OS_USER_DOMAIN_NAME", "Default"),
            ("OS_PROJECT_DOMAIN_NAME", "Default"),
            ("OS_REGION_NAME", self.region),
            ("OS_IDENTITY_API_VERSION", "3"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The same with TLS to Keystone, at the address of a front before it, and to Swift.
    #[must_use]
    pub fn over_tls(self, front: SocketAddr) -> Self {
        Self { auth_url: format!("https://{front}/v3"), region: TLS_REGION, ..self }
    }

    /// A token of the user.
    pub async fn token(&self) -> Result<String> {
        token(&self.auth_url, &self.name).await
    }
}

/// A token of the user of that name for the project of that name.
async fn token(url: &str, name: &str) -> Result<String> {
    let domain = json!({"id": "default"});
    let user = json!({"name": name, "password": PASSWORD, "domain": domain});
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": name, "domain": domain}},
    }});
    let answer = reqwest::Client::new().post(format!("{url}/auth/tokens")).json(&body).send().await?;
    let answer = answer.error_for_status()?;
    Ok(answer.headers().get("X-Subject-Token").context("no token in the answer")?.to_str()?.to_owned())
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).context("an id in Keystone's answer")
}

async fn start_keystone(keeper: &Keeper, port: u16, url: &str) -> Result<()> {
    configure(keeper)?;
    run(manage(keeper, &["db_sync"])).await?;
    let (user, group) = (geteuid().to_string(), getegid().to_string());
    for keys in ["fernet_setup", "credential_setup"] {
        run(manage(keeper, &[keys, "--keystone-user", &user, "--keystone-group", &group])).await?;
    }
    let mut bootstrap = manage(keeper, &["bootstrap", "--bootstrap-username", ADMIN]);
    bootstrap.args(["--bootstrap-project-name", ADMIN, "--bootstrap-region-id", REGION]);
    bootstrap.args(["--bootstrap-public-url", url]).env("OS_BOOTSTRAP_PASSWORD", PASSWORD);
    run(bootstrap).await?;
    let mut command = keeper.command(PYTHON);
    command.args(["/usr/bin/keystone-wsgi-public", "--host", "127.0.0.1", "--port", &port.to_string()]);
    command.env("OS_KEYSTONE_CONFIG_DIR", keeper.dir());
    let server = keeper.spawn("keystone", &mut command)?;
    let attempt = async || reqwest::get(url).await?.error_for_status().map(drop);
    server.wait_until_ok("Keystone to answer", Duration::from_secs(120), attempt).await
}

fn configure(keeper: &Keeper) -> Result<()> {
    let path = |name: &str| -> PathBuf { keeper.dir().join(name) };
    let (fernet, credential) = (path("fernet"), path("credential"));
    fs::create_dir(&fernet)?;
    fs::create_dir(&credential)?;
    let text = format!(
        "[DEFAULT]\nuse_stderr = true\n[database]\nconnection = sqlite:///{}\n[token]\nprovider = fernet\n\
         [identity]\npassword_hash_rounds = 4\n\
         [fernet_tokens]\nkey_repository = {}\n[credential]\nkey_repository = {}\n",
        path("keystone.db").display(),
        fernet.display(),
        credential.display()
    );
    Ok(fs::write(path("keystone.conf"), text)?)
}

fn manage(keeper: &Keeper, args: &[&str]) -> Command {
    let mut command = keeper.command(PYTHON);
    command.arg("/usr/bin/keystone-manage").arg("--config-file").arg(keeper.dir().join("keystone.conf"));
    command.args(args);
    command
}
