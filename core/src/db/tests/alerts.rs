//! What pages say at their top.

use super::Database;
use crate::db::AlertRow;

pub(super) async fn alerts(db: &Database) {
    let alert = |text: &str, begins_us, ends_us| AlertRow {
        id: 0,
        level: "info".to_owned(),
        text: text.to_owned(),
        begins_us,
        ends_us,
        person: "ann".to_owned(),
    };
    let over = db.add_alert(&alert("over", 10, Some(20)), "{}").await.unwrap();
    let stays = db.add_alert(&alert("stays", 15, None), "{}").await.unwrap();
    let rows = db.alerts(19).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [over, stays]);
    assert!(rows[0].is_shown(19) && !rows[0].is_shown(9) && rows[0].is_over(20) && !rows[1].is_shown(14));
    assert_eq!(db.alerts(20).await.unwrap(), [AlertRow { id: stays, ..alert("stays", 15, None) }]);
    assert!(db.remove_alert(stays, "joe", "{}").await.unwrap());
    assert!(!db.remove_alert(stays, "joe", "{}").await.unwrap());
    let audit = db.audit(over - 1, 0, Some("joe"), 10).await.unwrap();
    assert_eq!(audit.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), ["alert-rm"]);
}
