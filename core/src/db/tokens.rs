//! API tokens: stored hashed, with a name, scopes and an end. And who asked how often.

use sha2::{Digest, Sha256};
use sqlx::FromRow;

use super::{Database, DbError, connection::args};

/// A token without its secret.
#[derive(Debug, Clone, FromRow)]
pub struct TokenRow {
    /// Its number.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// In whose name it acts.
    pub person: String,
    /// What it may, separated by blanks: `request`, `force`.
    pub scopes: String,
    /// Microseconds since 1970.
    pub created_us: i64,
    /// Microseconds since 1970.
    pub ends_us: i64,
    /// Called back.
    pub revoked: bool,
}

impl TokenRow {
    /// True where the token has a scope.
    pub fn may(&self, scope: &str) -> bool {
        self.scopes.split(' ').any(|s| s == scope)
    }
}

/// What is stored of a token's secret. The secret has 128 random bits or more, so one round of SHA-256 is enough.
pub fn token_hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))
}

impl Database {
    /// Stores a new token.
    pub async fn add_token(
        &self,
        name: &str,
        person: &str,
        hash: &str,
        scopes: &str,
        lasts_seconds: i64,
    ) -> Result<i64, DbError> {
        let now = self.now_us().await?;
        let (id,): (i64,) = self
            .one(
                "INSERT INTO tokens (name, person, hash, scopes, created_us, ends_us, revoked)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
                args![
                    name,
                    person,
                    hash,
                    scopes,
                    now,
                    now.saturating_add(lasts_seconds.saturating_mul(1_000_000)),
                    false
                ],
            )
            .await?;
        Ok(id)
    }

    /// The token with this hash, if it is valid now.
    pub async fn valid_token(&self, hash: &str) -> Result<Option<TokenRow>, DbError> {
        let now = self.now_us().await?;
        self.optional(
            "SELECT id, name, person, scopes, created_us, ends_us, revoked FROM tokens
             WHERE hash = $1 AND ends_us > $2 AND NOT revoked",
            args![hash, now],
        )
        .await
    }

    /// All tokens.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, DbError> {
        self.all(
            "SELECT id, name, person, scopes, created_us, ends_us, revoked FROM tokens ORDER BY id",
            vec![],
        )
        .await
    }

    /// Calls a token back. False where there is none with that number.
    pub async fn revoke_token(&self, id: i64) -> Result<bool, DbError> {
        Ok(self.execute("UPDATE tokens SET revoked = $1 WHERE id = $2", args![true, id]).await? == 1)
    }

    /// Counts `number` requests by HTTP against a person's rate: none when they are within it, else the seconds to wait.
    pub async fn count_requests(
        &self,
        person: &str,
        number: usize,
        per_hour: i64,
    ) -> Result<Option<i64>, DbError> {
        const HOUR_US: i64 = 3_600_000_000;
        let mut tx = self.begin().await?;
        let now = tx.now_us().await?;
        tx.execute("DELETE FROM asked WHERE person = $1 AND asked_us < $2", args![person, now - HOUR_US])
            .await?;
        let row: Option<(i64, i64)> = tx
            .optional(
                "SELECT count(*), coalesce(min(asked_us), 0) FROM asked WHERE person = $1",
                args![person],
            )
            .await?;
        let (count, oldest) = row.unwrap_or((0, 0));
        if count.saturating_add(i64::try_from(number).unwrap_or(i64::MAX)) > per_hour {
            let seconds = if count == 0 { 3600 } else { (oldest + HOUR_US - now) / 1_000_000 };
            return Ok(Some(seconds.max(1)));
        }
        for _ in 0..number {
            tx.execute("INSERT INTO asked (person, asked_us) VALUES ($1, $2)", args![person, now]).await?;
        }
        tx.commit().await?;
        Ok(None)
    }
}
