//! A RabbitMQ of one's own.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{
    amqp::connection,
    certificates::authority,
    keeper::{Keeper, run},
    ports::free_port,
    roles::ROLE_PASSWORD,
};

/// Where Debian keeps the scripts that run as whoever calls them.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// The user that may do everything in every vhost.
pub const USER: &str = "tester";
/// Its password, easy to find where it must not be.
pub const PASSWORD: &str = "rabbit-sekrit";

/// The users of the shipped definitions.
pub const ROLES: [&str; 5] = ["gate", "dispatcher", "worker", "web", "operator"];

/// A running broker.
#[derive(Debug)]
pub struct Rabbit {
    port: u16,
    tls_port: u16,
    dist_port: u16,
    epmd_port: u16,
    cookie: String,
    keeper: Keeper,
    /// Every `erl_call` joins under the same name: one at a time.
    call: tokio::sync::Mutex<()>,
}

impl Rabbit {
    /// Starts a broker and waits until it takes connections (about 4 s).
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// The same with more lines of `rabbitmq.conf`, such as `consumer_timeout = 10000`, or
    /// `listeners.tcp.2 = 127.0.0.82:5672` for clients that cannot be told a port.
    pub async fn start_with(configuration: &str) -> Result<Self> {
        let rabbit = Self {
            port: free_port()?,
            tls_port: free_port()?,
            dist_port: free_port()?,
            epmd_port: free_port()?,
            cookie: uuid::Uuid::new_v4().simple().to_string(),
            keeper: Keeper::new("rabbit")?,
            call: tokio::sync::Mutex::default(),
        };
        rabbit.configure(configuration)?;
        rabbit.start_again().await?;
        Ok(rabbit)
    }

    /// `amqp://…` of the vhost `/`.
    pub fn url(&self) -> String {
        format!("amqp://{USER}:{PASSWORD}@{}", self.address())
    }

    /// Host and port of AMQP.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Host and port of AMQP over TLS.
    pub fn tls_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.tls_port).into()
    }

    /// Makes a vhost (letters, digits, `-`, `_`) where it is missing and returns its URL: what is in one test's vhost
    /// no other test sees.
    pub async fn url_for_vhost(&self, name: &str) -> Result<String> {
        let name_ok = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        anyhow::ensure!(name_ok && !name.is_empty(), "bad vhost name {name:?}");
        self.eval(&format!(
            r#"V = <<"{name}">>, U = <<"{USER}">>, A = <<".*">>,
               case rabbit_vhost:exists(V) of true -> ok; false -> rabbit_vhost:add(V, U) end,
               rabbit_auth_backend_internal:set_permissions(U, V, A, A, A, U)."#
        ))
        .await?;
        Ok(format!("{}/{name}", self.url()))
    }

    /// A vhost with the users and permissions that are shipped, and its URL over TLS for the user that may do everything;
    /// see [`as_role`](crate::roles::as_role).
    pub async fn secured(&self, vhost: &str) -> Result<String> {
        if vhost != "/" {
            self.url_for_vhost(vhost).await?;
        }
        let definitions = self.keeper.dir().join(format!("definitions-{}.json", uuid::Uuid::new_v4()));
        let text =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/rabbitmq/definitions.json"))?;
        fs::write(&definitions, text.replace("\"vhost\": \"/\"", &format!("\"vhost\": \"{vhost}\"")))?;
        let users = ROLES.map(|role| format!("<<\"{role}\">>")).join(", ");
        self.eval(&format!(
            r#"[case rabbit_auth_backend_internal:lookup_user(U) of
                {{ok, _}} -> ok; _ -> ok = rabbit_auth_backend_internal:add_user(U, <<"{ROLE_PASSWORD}">>, U)
               end || U <- [{users}]],
               {{ok, Text}} = file:read_file("{}"), ok = rabbit_definitions:import_raw(Text)."#,
            definitions.display()
        ))
        .await?;
        let vhost = if vhost == "/" { "%2f" } else { vhost };
        Ok(format!("amqps://{USER}:{PASSWORD}@{}/{vhost}", self.tls_address()))
    }

    /// Runs `rabbitmqctl` (about a second) and returns what it prints.
    pub async fn ctl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.command("rabbitmqctl");
        command.arg("-q").args(args);
        run(command).await
    }

    /// Evaluates Erlang expressions in the broker, in milliseconds.
    pub async fn eval(&self, expressions: &str) -> Result<String> {
        let _one_at_a_time = self.call.lock().await;
        let input = self.keeper.dir().join(format!("eval-{}", uuid::Uuid::new_v4()));
        fs::write(&input, format!("{expressions}\n"))?;
        let mut command = self.command("erl_call");
        command.args(["-c", &self.cookie, "-address", &format!("127.0.0.1:{}", self.dist_port), "-e"]);
        command.stdin(fs::File::open(&input)?);
        let answer = run(command).await?;
        anyhow::ensure!(answer.trim_start().starts_with("{ok,"), "{expressions}\nanswered {answer}");
        Ok(answer)
    }

    /// Stops the broker inside its Erlang node: clients see a clean end of their connections.
    pub async fn stop_app(&self) -> Result<()> {
        self.ctl(&["stop_app"]).await.map(drop)
    }

    /// Starts it again after [`Self::stop_app`].
    pub async fn start_app(&self) -> Result<()> {
        self.ctl(&["start_app"]).await?;
        self.try_connection().await
    }

    /// Kills the broker without a warning.
    pub async fn kill9(&self) -> Result<()> {
        self.keeper.kill9().await
    }

    /// Starts it again after [`Self::kill9`], on the same ports and data, and waits until it serves.
    pub async fn start_again(&self) -> Result<()> {
        // A port mapper of our own: the one that Erlang starts by itself would stay behind, and may be another's.
        let mut epmd = self.keeper.command("epmd");
        epmd.args(["-address", "127.0.0.1", "-port", &self.epmd_port.to_string()]);
        self.keeper.spawn("epmd", &mut epmd)?;
        let server = self.keeper.spawn("server", &mut self.command("rabbitmq-server"))?;
        let attempt = async || self.try_connection().await;
        server.wait_until_ok("RabbitMQ to take connections", Duration::from_secs(120), attempt).await
    }

    async fn try_connection(&self) -> Result<()> {
        let connection = connection(&self.url()).await?;
        Ok(connection.close(200, "ready".into()).await?)
    }

    fn configure(&self, more: &str) -> Result<()> {
        let dir = self.keeper.dir();
        let files = authority()?.server_files(dir, None)?;
        let configuration = format!(
            "listeners.tcp.1 = {}\nlisteners.ssl.1 = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
             default_user = {USER}\ndefault_pass = {PASSWORD}\n\
             disk_free_limit.absolute = 10MB\n{}{more}\n",
            self.address(),
            self.tls_address(),
            files.certificate.display(),
            files.key.display(),
            include_str!("../../deploy/rabbitmq/rabbitmq.conf")
        );
        fs::write(dir.join("rabbitmq.conf"), configuration)?;
        fs::write(dir.join("enabled_plugins"), "[].\n")?;
        let cookie = dir.join(".erlang.cookie");
        fs::write(&cookie, &self.cookie)?;
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400)).context("the cookie's mode")
    }

    fn command(&self, program: &str) -> Command {
        let path = |name: &str| self.keeper.dir().join(name);
        let mut command = self.keeper.command(program);
        let search = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{SCRIPTS}:{search}"))
            .env("HOME", self.keeper.dir())
            .env("RABBITMQ_NODENAME", format!("proofhouse{}@localhost", self.port))
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_PID_FILE", path("pid"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("ERL_CRASH_DUMP", path("erl_crash.dump"))
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                // What is due by `consumer_timeout` is looked for every 5 s, not every minute.
                "+sbwt none +S 2:2 -kernel inet_dist_use_interface {127,0,0,1} -rabbit channel_tick_interval 5000",
            );
        command
    }
}
