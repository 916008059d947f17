//! The rejected list: what could not be taken, for operators.

use sqlx::FromRow;

use super::{Database, DbError, connection::args};

/// A rejected message.
#[derive(Debug, Clone, FromRow)]
pub struct RejectedRow {
    /// Its number.
    pub id: i64,
    /// The queue it came by.
    pub queue: String,
    /// The body as it came, without credentials.
    pub body: Vec<u8>,
    /// The reason's name.
    pub kind: String,
    /// The reason.
    pub reason: String,
    /// Microseconds since 1970.
    pub received_us: i64,
}

impl Database {
    /// All rejected messages with a greater number, oldest first, at most `limit`.
    pub async fn rejected(&self, after: i64, limit: i64) -> Result<Vec<RejectedRow>, DbError> {
        self.all(
            "SELECT id, queue, body, kind, reason, received_us FROM rejected WHERE id > $1 ORDER BY id LIMIT $2",
            args![after, limit],
        )
        .await
    }

    /// One of them.
    pub async fn rejected_one(&self, id: i64) -> Result<Option<RejectedRow>, DbError> {
        self.optional(
            "SELECT id, queue, body, kind, reason, received_us FROM rejected WHERE id = $1",
            args![id],
        )
        .await
    }

    /// How many there are of each reason's name, the most first.
    pub async fn rejected_kinds(&self) -> Result<Vec<(String, i64)>, DbError> {
        self.all("SELECT kind, count(*) FROM rejected GROUP BY kind ORDER BY 2 DESC, 1", vec![]).await
    }

    /// How many there are.
    pub async fn rejected_count(&self) -> Result<i64, DbError> {
        let (count,): (i64,) = self.one("SELECT count(*) FROM rejected", vec![]).await?;
        Ok(count)
    }
}
