//! Leadership: one row with holder, end and epoch.

use super::{
    Database, DbError,
    connection::{Tx, args},
};
use crate::faults::{self, Planted};

/// How long a leadership lasts without being renewed.
pub const LEADERSHIP_SECONDS: i64 = 5;
const LASTS_US: i64 = LEADERSHIP_SECONDS * 1_000_000;

impl Database {
    /// The database's clock, in microseconds since 1970.
    pub async fn now_us(&self) -> Result<i64, DbError> {
        let (now,) = self.one::<(i64,)>(clock(self.is_sqlite()), vec![]).await?;
        Ok(now)
    }

    /// Takes leadership when nobody holds it; returns the new epoch.
    ///
    /// An end that lies further ahead than a leadership lasts counts as past: the clock was wrong when it was written.
    /// `sole`: the caller knows that no other dispatcher can be alive, so whoever is written down is gone.
    ///
    /// One statement, whose clock is read when it has the row: an end that is renewed while this waits for it would else lie
    /// too far ahead.
    pub async fn take_leadership(&self, holder: &str, sole: bool) -> Result<Option<i64>, DbError> {
        let taken: Option<(i64,)> = self
            .optional(
                if self.is_sqlite() {
                    "UPDATE leadership SET holder = $1, epoch = epoch + 1,
                        ends_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER) + $2
                     WHERE id = 1 AND (holder = '' OR $3 OR ends_us NOT BETWEEN
                        CAST(unixepoch('subsec') * 1000000 AS INTEGER) + 1
                        AND CAST(unixepoch('subsec') * 1000000 AS INTEGER) + $2)
                     RETURNING epoch"
                } else {
                    "UPDATE leadership SET holder = $1, epoch = epoch + 1,
                        ends_us = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $2
                     WHERE id = 1 AND (holder = '' OR $3 OR ends_us NOT BETWEEN
                        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 1
                        AND (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $2)
                     RETURNING epoch"
                },
                args![holder, LASTS_US, sole],
            )
            .await?;
        Ok(taken.map(|(epoch,)| epoch))
    }

    /// Prolongs leadership; false when another holds it by now.
    ///
    /// One statement, which needs no client to end, and counts from when that was alive: a leader that hangs would else hold
    /// the row, or be given more time, when the lock that it waits for is free.
    pub async fn renew_leadership(&self, holder: &str, epoch: i64) -> Result<bool, DbError> {
        let renewed = self
            .execute(
                if self.is_sqlite() {
                    "UPDATE leadership SET ends_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER) + $1
                     WHERE id = 1 AND holder = $2 AND epoch = $3"
                } else {
                    "UPDATE leadership SET ends_us = (extract(epoch FROM statement_timestamp()) * 1000000)::bigint + $1
                     WHERE id = 1 AND holder = $2 AND epoch = $3"
                },
                args![LASTS_US, holder, epoch],
            )
            .await?;
        Ok(renewed == 1)
    }

    /// Lays leadership down, so that another need not wait for its end.
    pub async fn drop_leadership(&self, holder: &str, epoch: i64) -> Result<(), DbError> {
        self.execute(
            "UPDATE leadership SET ends_us = 0, holder = '' WHERE id = 1 AND holder = $1 AND epoch = $2",
            args![holder, epoch],
        )
        .await
        .map(|_| ())
    }

    /// Begins a scheduling transaction: it is refused once another dispatcher leads.
    pub(crate) async fn begin_leading(&self, epoch: i64) -> Result<Tx<'_>, DbError> {
        let mut tx = self.begin().await?;
        let row: Option<(i64,)> = tx
            .optional(
                if tx.is_sqlite() {
                    "SELECT epoch FROM leadership WHERE id = 1 AND epoch = $1"
                } else {
                    "SELECT epoch FROM leadership WHERE id = 1 AND epoch = $1 FOR SHARE"
                },
                args![epoch],
            )
            .await?;
        let row = row.or_else(|| faults::is_planted(Planted::NoFencing).then_some((epoch,)));
        row.map(|_| tx).ok_or(DbError::LeadershipLost(epoch))
    }
}

impl Tx<'_> {
    pub(crate) async fn now_us(&mut self) -> Result<i64, DbError> {
        let sql = clock(self.is_sqlite());
        let row: Option<(i64,)> = self.optional(sql, vec![]).await?;
        row.map(|(now,)| now).ok_or_else(|| DbError::Value("the clock".to_owned()))
    }
}

const fn clock(sqlite: bool) -> &'static str {
    if sqlite {
        "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
    } else {
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    }
}
