//! Keystone v3, through the sessions of the openstack crate: authentication, the catalogue, renewal before a token ends.

use std::path::Path;

use openstack::{Error, ErrorKind, session::Session};
use osauth::CloudConfig;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use url::Url;

use super::login::TOKEN_HEADER;
use crate::{store::StoreError, tls::Authorities};

/// The catalogue's name for Swift.
const SERVICE: &str = "object-store";

/// The environment's variables and where they stand in a cloud's configuration.
const VARIABLES: &[(&str, &str)] = &[
    ("OS_USERNAME", "username"),
    ("OS_USER_ID", "user_id"),
    ("OS_PASSWORD", "password"),
    ("OS_USER_DOMAIN_NAME", "user_domain_name"),
    ("OS_PROJECT_NAME", "project_name"),
    ("OS_PROJECT_ID", "project_id"),
    ("OS_PROJECT_DOMAIN_NAME", "project_domain_name"),
    ("OS_PROJECT_DOMAIN_ID", "project_domain_id"),
    ("OS_APPLICATION_CREDENTIAL_ID", "application_credential_id"),
    ("OS_APPLICATION_CREDENTIAL_NAME", "application_credential_name"),
    ("OS_APPLICATION_CREDENTIAL_SECRET", "application_credential_secret"),
];

/// A cloud's configuration, complete enough to log in with.
pub(super) struct Keystone {
    cloud: CloudConfig,
    pub(super) url: Url,
    /// A file of certificates to trust.
    pub(super) cacert: Option<String>,
}

impl Keystone {
    /// From clouds.yaml where `OS_CLOUD` is set, else from the environment. The URL of the store wins over both.
    pub(super) fn new(
        url: Url,
        variable: &dyn Fn(&str) -> Option<String>,
        authorities: &Authorities,
    ) -> Result<Self, StoreError> {
        let mut config = match variable("OS_CLOUD") {
            Some(name) => from_clouds_yaml(&name)?,
            None => from_variables(variable),
        };
        config["auth"]["auth_url"] = json!(url.as_str());
        let auth = &config["auth"];
        let application = auth["application_credential_secret"].is_string();
        let password = auth["username"].is_string() && auth["password"].is_string();
        if !application && !password {
            return Err(StoreError::Configuration(
                "Keystone needs OS_USERNAME and OS_PASSWORD, or OS_APPLICATION_CREDENTIAL_ID and \
                 OS_APPLICATION_CREDENTIAL_SECRET, or OS_CLOUD and a clouds.yaml"
                    .to_owned(),
            ));
        }
        // The one name that the crate knows for each.
        config["auth_type"] = json!(if application { "v3applicationcredential" } else { "password" });
        let cacert = config["cacert"].as_str().map(str::to_owned);
        if let Some(path) = authorities.path() {
            // The crate reads one file.
            if cacert.as_ref().is_some_and(|cacert| Path::new(cacert) != path) {
                return Err(StoreError::Configuration(format!(
                    "OS_CACERT (cacert in clouds.yaml) and --ca-file name two files: put all authorities into {}",
                    path.display()
                )));
            }
            config["cacert"] = json!(path);
        }
        let cloud = serde_json::from_value(config).map_err(|_| unusable())?;
        Ok(Self { cloud, url, cacert })
    }

    /// Authenticates, and finds the object store of the region in the catalogue.
    pub(super) async fn log_in(&self) -> Result<(Session, Url), Error> {
        let session = self.cloud.clone().create_session().await?;
        let storage = match session.endpoint_overrides().get(SERVICE) {
            Some(url) => url.clone(),
            None => session.client().get_endpoint(SERVICE, session.endpoint_filters()).await?,
        };
        Ok((session, storage))
    }
}

/// The session's token: a new one where the old one ends soon.
pub(super) async fn token(session: &Session, storage: &Url) -> Result<HeaderValue, Error> {
    let client = session.client().inner();
    let request = session.auth_type().authenticate(client, client.head(storage.clone())).await?.build()?;
    request
        .headers()
        .get(TOKEN_HEADER)
        .cloned()
        .ok_or_else(|| Error::new(ErrorKind::InvalidResponse, "no token came with the session"))
}

/// What a failure of Keystone means.
pub(super) fn failure(address: &str, error: &Error) -> StoreError {
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::AccessDenied => {
            StoreError::Configuration(format!("{address} does not accept the credentials"))
        }
        ErrorKind::EndpointNotFound => StoreError::Configuration(format!(
            "the catalogue of {address} has no {SERVICE} for this region and interface"
        )),
        ErrorKind::ResourceNotFound => {
            StoreError::Configuration(format!("{address} is no Keystone v3 (HTTP 404)"))
        }
        ErrorKind::InvalidConfig | ErrorKind::InvalidInput => {
            StoreError::Configuration(format!("{address}: {}", plain(error)))
        }
        _ => StoreError::Away { address: address.to_owned(), reason: plain(error) },
    }
}

/// An error's text, unless that is a web page.
fn plain(error: &Error) -> String {
    let text = error.to_string();
    if text.contains('<') { error.kind().to_string() } else { text }
}

fn from_clouds_yaml(name: &str) -> Result<Value, StoreError> {
    let cloud = CloudConfig::from_config(name).map_err(|error| {
        let text = error.to_string();
        // Other texts may repeat what stands in the file.
        let harmless = ["No such cloud", "was not found"].iter().any(|part| text.contains(part));
        if harmless { StoreError::Configuration(format!("OS_CLOUD: {text}")) } else { unusable() }
    })?;
    serde_json::to_value(cloud).map_err(|_| unusable())
}

fn unusable() -> StoreError {
    StoreError::Configuration("OS_CLOUD: clouds.yaml does not have the form of the openstack SDK".to_owned())
}

fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Value {
    let auth: serde_json::Map<_, _> = VARIABLES
        .iter()
        .filter_map(|(name, key)| Some(((*key).to_owned(), Value::String(variable(name)?))))
        .collect();
    let mut config = json!({ "auth": auth });
    for (name, key) in
        [("OS_REGION_NAME", "region_name"), ("OS_INTERFACE", "interface"), ("OS_CACERT", "cacert")]
    {
        if let Some(value) = variable(name) {
            config[key] = Value::String(value);
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keystone(variables: &[(&str, &str)]) -> Result<Value, StoreError> {
        let url = "https://keystone.example:5000/v3".parse().unwrap();
        let find = |name: &str| Some(variables.iter().find(|(known, _)| *known == name)?.1.to_owned());
        let keystone = Keystone::new(url, &find, &Authorities::default());
        keystone.map(|keystone| serde_json::to_value(keystone.cloud).unwrap())
    }

    #[test]
    fn password() {
        let cloud = keystone(&[
            ("OS_AUTH_URL", "https://elsewhere.example/"),
            ("OS_USERNAME", "adt"),
            ("OS_PASSWORD", "s3cr3t"),
            ("OS_PROJECT_NAME", "adt"),
            ("OS_REGION_NAME", "ps7"),
        ])
        .unwrap();
        assert_eq!(cloud["auth_type"], "password");
        assert_eq!(cloud["auth"]["auth_url"], "https://keystone.example:5000/v3");
        assert_eq!((&cloud["auth"]["project_name"], &cloud["region_name"]), (&json!("adt"), &json!("ps7")));
    }

    #[test]
    fn application_credential() {
        let cloud = keystone(&[
            ("OS_APPLICATION_CREDENTIAL_ID", "id"),
            ("OS_APPLICATION_CREDENTIAL_SECRET", "s3cr3t"),
        ])
        .unwrap();
        assert_eq!(cloud["auth_type"], "v3applicationcredential");
        assert_eq!(cloud["auth"]["application_credential_id"], "id");
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = keystone(&[("OS_USERNAME", "adt")]).unwrap_err().to_string();
        assert!(error.contains("OS_PASSWORD"), "{error}");
        let error = keystone(&[("OS_CLOUD", "no-such-cloud")]).unwrap_err().to_string();
        assert!(error.contains("OS_CLOUD"), "{error}");
    }
}
