//! The tables `current_version` and `url_last_checked` of the published file.

use std::collections::BTreeMap;

use sqlx::Connection;

use super::{archive::Index, file::File};

impl File {
    /// `Last-Modified` of the indexes that the file's versions come from, by URL.
    pub(super) async fn checked(&mut self) -> Result<BTreeMap<String, String>, sqlx::Error> {
        let all = sqlx::query_as("SELECT url, timestamp FROM url_last_checked");
        Ok(all.fetch_all(&mut self.connection).await?.into_iter().collect())
    }

    /// Forgets every version: they come from elsewhere.
    pub(super) async fn forget_versions(&mut self) -> Result<(), sqlx::Error> {
        let both = "DELETE FROM current_version; DELETE FROM url_last_checked";
        sqlx::raw_sql(both).execute(&mut self.connection).await.map(drop)
    }

    /// An index is to be fetched whether it has changed or not.
    pub(super) async fn forget_checked(&mut self, urls: &[String]) -> Result<(), sqlx::Error> {
        let urls = serde_json::Value::from(urls).to_string();
        let forget =
            sqlx::query("DELETE FROM url_last_checked WHERE url IN (SELECT value FROM json_each($1))");
        forget.bind(urls).execute(&mut self.connection).await.map(drop)
    }

    /// Takes an index in: an update's version goes before the release's. True where updates lost a package, whose version
    /// is now the release's, which only the release's own index says.
    pub(super) async fn set_versions(&mut self, index: &Index) -> Result<bool, sqlx::Error> {
        let Index { place, timestamp, versions } = index;
        let versions = serde_json::json!(versions).to_string();
        let mut transaction = self.connection.begin().await?;
        let lost: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM current_version WHERE release = $1 AND pocket = $2 AND component = $3
                AND package NOT IN (SELECT key FROM json_each($4))",
        )
        .bind(&place.release)
        .bind(&place.pocket)
        .bind(&place.component)
        .bind(&versions)
        .fetch_one(&mut *transaction)
        .await?;
        for statement in [
            "DELETE FROM current_version WHERE release = $1 AND pocket = $2 AND component = $3 AND $4 <> ''",
            "INSERT INTO current_version (release, pocket, component, package, version)
             SELECT $1, $2, $3, key, value FROM json_each($4) WHERE true
             ON CONFLICT (release, package) DO UPDATE
             SET pocket = excluded.pocket, component = excluded.component, version = excluded.version
             WHERE excluded.pocket <> excluded.release OR current_version.pocket = excluded.pocket",
        ] {
            let statement = sqlx::query(statement);
            let statement = statement.bind(&place.release).bind(&place.pocket).bind(&place.component);
            statement.bind(&versions).execute(&mut *transaction).await?;
        }
        if let Some(timestamp) = timestamp {
            sqlx::query("INSERT OR REPLACE INTO url_last_checked (url, timestamp) VALUES ($1, $2)")
                .bind(&place.url)
                .bind(timestamp)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(place.is_updates() && lost > 0)
    }
}

#[cfg(test)]
mod tests {
    use proofhouse_core::tls::Authorities;

    use super::*;
    use crate::published::archive::Archive;

    fn index(updates: bool, versions: &[(&str, &str)]) -> Index {
        let components = vec!["main".parse().unwrap()];
        let archive = Archive { url: "http://a".to_owned(), components, authorities: Authorities::default() };
        let place = archive.places(&["noble".to_owned()]).remove(usize::from(updates));
        let versions = versions.iter().map(|(p, v)| ((*p).to_owned(), (*v).to_owned())).collect();
        Index { place, timestamp: Some("Tue, 01 Sep 2026 10:00:00 GMT".to_owned()), versions }
    }

    async fn versions(file: &mut File) -> Vec<String> {
        let sql = "SELECT package || ' ' || version || ' ' || pocket FROM current_version ORDER BY package";
        sqlx::query_scalar(sql).fetch_all(&mut file.connection).await.unwrap()
    }

    #[tokio::test]
    async fn updates_go_before_the_release() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::open(&folder.path().join("x.db")).await.unwrap();
        let release = index(false, &[("blue", "1"), ("green", "1"), ("red", "1")]);
        assert!(!file.set_versions(&release).await.unwrap());
        assert!(!file.set_versions(&index(true, &[("blue", "2"), ("green", "2")])).await.unwrap());
        assert!(!file.set_versions(&release).await.unwrap());
        assert_eq!(
            versions(&mut file).await,
            ["blue 2 noble-updates", "green 2 noble-updates", "red 1 noble"]
        );
        assert!(file.set_versions(&index(true, &[("blue", "3")])).await.unwrap(), "green was lost");
        assert!(!file.set_versions(&index(false, &[("blue", "1"), ("green", "1")])).await.unwrap());
        assert_eq!(versions(&mut file).await, ["blue 3 noble-updates", "green 1 noble"]);
        let urls: Vec<String> = file.checked().await.unwrap().into_keys().collect();
        assert_eq!(urls.len(), 2);
        file.forget_checked(&urls[..1]).await.unwrap();
        assert_eq!(file.checked().await.unwrap().len(), 1);
        file.forget_versions().await.unwrap();
        assert!(versions(&mut file).await.is_empty() && file.checked().await.unwrap().is_empty());
    }
}
