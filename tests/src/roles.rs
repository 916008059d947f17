//! The accounts with least privilege that each part has at the servers.

use anyhow::{Context, Result};

/// The password of all of them, easy to find where it must not be.
pub const ROLE_PASSWORD: &str = "role-sekrit";

/// A server's URL with another user.
pub fn as_role(url: &str, user: &str) -> Result<String> {
    let mut url = url::Url::parse(url)?;
    url.set_username(user).ok().context("a URL with a host")?;
    url.set_password(Some(ROLE_PASSWORD)).ok().context("a URL with a host")?;
    Ok(url.into())
}
