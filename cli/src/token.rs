//! `proofhouse token`: API tokens of the site.

use anyhow::{Result, bail};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::{Args, Subcommand, ValueEnum};
use proofhouse_core::{
    db::{TokenRow, token_hash},
    params::Person,
};
use serde::Serialize;

use crate::{args::ListArgs, connect, print, servers::Servers, status::Status};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; its secret is printed once and kept nowhere
    #[command(after_help = "Examples:\n  proofhouse token add britney --person release-team\n  \
        proofhouse token add ci --person joe --days 30 --scope request,force\n\
        It is sent as `Authorization: Bearer SECRET`.")]
    Add(AddArgs),
    /// List the tokens, without their secrets
    Ls(ListArgs),
    /// Call a token back
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// What it is for
    #[arg(value_name = "NAME", id = "token_name")]
    name: String,
    /// In whose name it asks
    #[arg(long)]
    person: Person,
    /// How long it is valid
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
    /// What it may
    #[arg(long, value_delimiter = ',', default_value = "request")]
    scope: Vec<Scope>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    servers: Servers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Scope {
    /// Ask for tests
    Request,
    /// Ask for a second run of what is there already
    Force,
}

impl Scope {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Force => "force",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Its number in the list
    id: i64,
    #[command(flatten)]
    servers: Servers,
}

pub(crate) async fn main(command: TokenCommand) -> Result<Status> {
    match command {
        TokenCommand::Add(args) => add(args).await,
        TokenCommand::Ls(args) => ls(args).await,
        TokenCommand::Revoke(args) => revoke(args).await,
    }
}

async fn add(args: AddArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    // 256 random bits: one round of a hash is enough for what is stored.
    let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let mut scopes = args.scope.clone();
    scopes.sort_unstable();
    scopes.dedup();
    let scopes = scopes.into_iter().map(Scope::as_str).collect::<Vec<_>>().join(" ");
    let lasts = i64::from(args.days) * 86_400;
    let id =
        database.add_token(&args.name, args.person.as_str(), &token_hash(&secret), &scopes, lasts).await?;
    database.close().await;
    if args.json {
        print::json(&serde_json::json!({ "id": id, "name": args.name, "secret": secret }))?;
    } else {
        eprintln!("Token {id} for {}, valid for {} days. It is shown this once:", args.person, args.days);
        print::text(&format!("{secret}\n"))?;
    }
    Ok(Status::Done)
}

/// A token as JSON shows it.
#[derive(Debug, Serialize)]
struct Line {
    id: i64,
    name: String,
    person: String,
    scopes: Vec<String>,
    created: String,
    ends: String,
    revoked: bool,
}

impl From<&TokenRow> for Line {
    fn from(token: &TokenRow) -> Self {
        Self {
            id: token.id,
            name: token.name.clone(),
            person: token.person.clone(),
            scopes: token.scopes.split(' ').map(str::to_owned).collect(),
            created: print::time(token.created_us),
            ends: print::time(token.ends_us),
            revoked: token.revoked,
        }
    }
}

async fn ls(args: ListArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    let tokens = database.tokens().await?;
    if args.json {
        print::json(&tokens.iter().map(Line::from).collect::<Vec<_>>())?;
    } else {
        print::text(&text(&tokens, database.now_us().await?))?;
    }
    Ok(Status::Done)
}

fn text(tokens: &[TokenRow], now_us: i64) -> String {
    let row = |token: &TokenRow| {
        let state = match token {
            TokenRow { revoked: true, .. } => "revoked",
            TokenRow { ends_us, .. } if *ends_us <= now_us => "ended",
            _ => "valid",
        };
        [
            token.id.to_string(),
            state.to_owned(),
            print::time(token.ends_us),
            token.scopes.replace(' ', ","),
            print::one_line(&token.person, 60),
            print::one_line(&token.name, 60),
        ]
    };
    print::table(
        ["ID", "STATE", "ENDS", "MAY", "PERSON", "NAME"],
        &tokens.iter().map(row).collect::<Vec<_>>(),
    )
}

async fn revoke(args: RevokeArgs) -> Result<Status> {
    let database = connect::existing_database(&args.servers.config()?).await?;
    if !database.revoke_token(args.id).await? {
        bail!("there is no token {}", args.id);
    }
    database.close().await;
    print::text(&format!("token {} is called back\n", args.id))?;
    Ok(Status::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendered() {
        let token = |id, ends_us, revoked| TokenRow {
            id,
            name: "britney".to_owned(),
            person: "release-team".to_owned(),
            scopes: "request force".to_owned(),
            created_us: 0,
            ends_us,
            revoked,
        };
        let tokens = [token(1, 2_000_000, false), token(2, 2_000_000, true), token(3, 500_000, false)];
        insta::assert_snapshot!(text(&tokens, 1_000_000));
    }
}
