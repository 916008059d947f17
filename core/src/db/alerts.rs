//! What every page of the site says at its top, while it is time. Set and taken back by operators; each change is in the
//! audit log.

use serde::Serialize;
use sqlx::FromRow;

use super::{Database, DbError, connection::args};

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct AlertRow {
    /// Its number, that of its entry in the audit log.
    pub id: i64,
    /// `info`, `warning` or `error`.
    pub level: String,
    /// What it says.
    pub text: String,
    /// Microseconds since 1970: not shown before.
    pub begins_us: i64,
    /// Microseconds since 1970: not shown any more; none: until it is taken back.
    pub ends_us: Option<i64>,
    /// Who set it.
    pub person: String,
}

impl AlertRow {
    /// True while it is time.
    pub fn is_shown(&self, now_us: i64) -> bool {
        self.begins_us <= now_us && !self.is_over(now_us)
    }

    /// True once its time is over.
    pub fn is_over(&self, now_us: i64) -> bool {
        self.ends_us.is_some_and(|ends| ends <= now_us)
    }
}

impl Database {
    /// Sets an alert, whose number is given here. `what`: it in words, for the audit log.
    pub async fn add_alert(&self, alert: &AlertRow, what: &str) -> Result<i64, DbError> {
        let mut tx = self.begin().await?;
        let id = tx.add_audit(&alert.person, "alert", what, 0).await?;
        tx.execute(
            "INSERT INTO alerts (id, level, text, begins_us, ends_us, person) VALUES ($1, $2, $3, $4, $5, $6)",
            args![id, &alert.level, &alert.text, alert.begins_us, alert.ends_us, &alert.person],
        )
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Takes an alert back. False where there is none of that number.
    pub async fn remove_alert(&self, id: i64, person: &str, what: &str) -> Result<bool, DbError> {
        let mut tx = self.begin().await?;
        if tx.execute("DELETE FROM alerts WHERE id = $1", args![id]).await? == 0 {
            return Ok(false);
        }
        tx.add_audit(person, "alert-rm", what, 0).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The alerts that are not over at a time, those too that have not begun; the oldest first.
    pub async fn alerts(&self, at_us: i64) -> Result<Vec<AlertRow>, DbError> {
        self.all(
            "SELECT id, level, text, begins_us, ends_us, person FROM alerts WHERE ends_us IS NULL OR ends_us > $1
             ORDER BY begins_us, id",
            args![at_us],
        )
        .await
    }
}
