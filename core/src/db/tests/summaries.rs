//! Results are summed up, each once, in whatever order they come.

use std::collections::BTreeSet;

use super::{Database, in_store};
use crate::{
    db::{
        FlakyFilter, FlakyKey, LOOKED_THROUGH, NameKind, RecentFilter, ResultRow, Standing, StandingList,
        StandingsFilter, StepBy,
    },
    index::{FoundRun, StoredResult},
    layout::Series,
    names::Pair,
    outcome::Class,
};

const OWN: &str = "autopkgtest-questing";
const PPA: &str = "autopkgtest-questing-mary-ann-fixes";
const RUN_IDS: [&str; 3] = ["20261101_100000_aaaaa@", "20261101_110000_aaaaa@", "20261101_120000_aaaaa@"];

fn pair() -> Pair {
    "questing/riscv64".parse().unwrap()
}

/// A result of blue, and how it ended.
fn blue(container: &str, run_id: &str, exit_code: i32) -> StoredResult {
    let series =
        Series { container: container.parse().unwrap(), pair: pair(), package: "blue".parse().unwrap() };
    let mut result =
        StoredResult { run: FoundRun { series, run_id: run_id.parse().unwrap() }, ..in_store(run_id, None) };
    result.said.exit_code = exit_code;
    result.said.requester = Some("mary-ann".to_owned());
    result.said.triggers = Some(format!("blue/1 bad {}/2", "x".repeat(600)));
    result
}

async fn add(db: &Database, epoch: i64, results: &[StoredResult]) {
    let seen: Vec<FoundRun> = results.iter().map(|r| r.run.clone()).collect();
    db.index(&seen, results, None).await.unwrap();
    while db.next_edition(epoch, 2).await.unwrap() > 0 {}
    while db.sum_up(epoch, 2).await.unwrap() > 0 {}
}

pub(super) async fn summaries(db: &Database, epoch: i64) {
    let run_ids = RUN_IDS;
    let package = "blue".parse().unwrap();
    let standing = async || db.standings_of(&package).await.unwrap().remove(0);

    // A failure, and one before it that came later; what infrastructure did says nothing of the package.
    add(db, epoch, &[blue(OWN, run_ids[2], 4), blue(OWN, "20261101_130000_aaaaa@", 16)]).await;
    let said = standing().await;
    assert_eq!((said.class.as_str(), said.run_id.as_str(), said.runs), ("fail", run_ids[2], 2));
    assert_eq!((said.failing_since.as_deref(), said.passed_run_id.as_deref()), (Some(run_ids[2]), None));
    add(db, epoch, &[blue(OWN, run_ids[0], 6)]).await;
    assert_eq!(standing().await.failing_since.as_deref(), Some(run_ids[0]));
    // A pass between the two comes last of all.
    add(db, epoch, &[blue(OWN, run_ids[1], 0), blue(OWN, run_ids[1], 0)]).await;
    let said = standing().await;
    assert_eq!((said.failing_since.as_deref(), said.runs), (Some(run_ids[2]), 4));
    assert_eq!(
        (said.passed_run_id.as_deref(), said.passed_version.as_deref()),
        (Some(run_ids[1]), Some("2~\"'"))
    );
    lists(db, &said).await;

    // With a PPA it says nothing of the distribution's package.
    add(db, epoch, &[blue(PPA, "20261102_100000_aaaaa@", 0)]).await;
    assert_eq!(standing().await, said);
    assert_eq!(db.names_from(NameKind::Ppa, "mary-ann-", "", 9).await.unwrap(), ["mary-ann-fixes"]);
    assert_eq!(db.names_with(NameKind::User, "y-a", "", 9).await.unwrap(), ["mary-ann"]);
    for (text, after) in [("y_a", ""), ("y-a", "mary-ann")] {
        assert!(db.names_with(NameKind::User, text, after, 9).await.unwrap().is_empty());
    }
    assert_eq!(db.known_names(NameKind::Package, &["blue", "bl", "blue"]).await.unwrap(), ["blue"]);
    assert_eq!(db.names_from(NameKind::Package, "bl", "", 9).await.unwrap(), ["blue"]);
    assert!(db.names_from(NameKind::Package, "bl", "blue", 9).await.unwrap().is_empty());
    assert_eq!(db.results_in(PPA, None, 9).await.unwrap().len(), 1);
    assert!(db.results_in(OWN, None, 9).await.unwrap().is_empty());

    let all = db.triggered("blue/1", None, 10).await.unwrap();
    assert_eq!(all.len(), 5);
    assert_eq!(db.triggered("blue/1", Some(all[1].id), 10).await.unwrap().len(), 3);
    assert_eq!(db.triggers_from("blue", "", 10).await.unwrap(), ["blue/1"]);
    assert!(
        db.triggers_from("x", "", 10).await.unwrap().is_empty()
            && db.triggers_from("bad", "", 10).await.unwrap().is_empty()
    );

    let hours = db.hours("results", 1).await.unwrap();
    let hours: Vec<_> = hours.iter().filter(|h| h.release == "questing").collect();
    assert_eq!(hours.iter().map(|h| h.n).sum::<i64>(), 5);
    assert!(hours.iter().all(|h| h.hour % super::super::HOUR_US == 0 && h.total == 7 * h.n && h.most == 7));
    let counted = |rows: Vec<super::super::HourRow>| {
        let rows = rows.into_iter().filter(|row| row.release == "questing" && row.n != 0);
        rows.map(|row| (row.name, row.n)).collect::<Vec<_>>()
    };
    let all = [("fail".to_owned(), 2), ("pass".to_owned(), 2), ("tmpfail".to_owned(), 1)];
    assert_eq!(counted(db.all_time("results").await.unwrap()), all);
    assert_eq!(
        counted(db.all_time("packages").await.unwrap()),
        all[..1].iter().map(|_| ("fail".to_owned(), 1)).collect::<Vec<_>>()
    );

    by_days(db).await;

    // Nothing is summed up twice, and what is in no summary yet is shown all the same.
    assert_eq!(db.sum_up(epoch, 10).await.unwrap(), 0);
    let fresh = blue(OWN, "20261103_100000_aaaaa@", 8);
    db.index(&[], std::slice::from_ref(&fresh), None).await.unwrap();
    let filter = RecentFilter { arch: Some("riscv64".to_owned()), limit: 9, ..RecentFilter::default() };
    let recent = async |filter: &RecentFilter| db.recent(filter).await.unwrap();
    let rows = recent(&filter).await;
    assert_eq!((rows.len(), rows[0].run_id.as_str()), (6, "20261103_100000_aaaaa@"));
    let known = db.kinds_of_results().await.unwrap();
    let by_index: BTreeSet<_> = db.kinds_by_index().await.unwrap().into_iter().collect();
    assert!(by_index.len() > 3 && by_index.iter().eq(&known), "{by_index:?} {known:?}");
    let older = RecentFilter { before: Some((rows[0].run_id.clone(), rows[0].id)), ..filter.clone() };
    assert_eq!(recent(&older).await.len(), 5);
    assert_eq!(
        recent(&RecentFilter { offset: 2, limit: 3, ..filter.clone() }).await[0].run_id,
        rows[2].run_id
    );
    for (class, number) in [(Class::Fail, 2), (Class::Neutral, 1), (Class::Error, 0)] {
        assert_eq!(
            recent(&RecentFilter { class: Some(class), ..filter.clone() }).await.len(),
            number,
            "{class}"
        );
    }
    let of = async |package: &str, user: &str| {
        let (package, user) = (Some(package.to_owned()), Some(user.to_owned()));
        recent(&RecentFilter { package, user, offset: 1, limit: 3, ..RecentFilter::default() }).await
    };
    assert_eq!(
        of("blue", "mary-ann").await.iter().map(|row| row.id).collect::<Vec<_>>(),
        [rows[1].id, rows[2].id, rows[3].id]
    );
    assert!(of("green", "mary-ann").await.is_empty() && of("blue", "joe").await.is_empty());
    of_a_person(db).await;
    what_was_said_before(db, &rows).await;
    let passed = db.passed_before(&rows[0]).await.unwrap().unwrap();
    assert_eq!(passed.run_id, run_ids[1]);
    let neighbours = async |after| {
        let rows = db.neighbours(&passed, after, 1).await.unwrap();
        rows.into_iter().map(|row| row.run_id).collect::<Vec<_>>()
    };
    assert_eq!(
        (neighbours(true).await, neighbours(false).await),
        (vec![run_ids[2].to_owned()], vec![run_ids[0].to_owned()])
    );
    dropped_and_back(db, epoch, fresh).await;
    assert!(matches!(db.sum_up(epoch - 1, 10).await, Err(super::DbError::LeadershipLost(_))));
}

/// Of a person that are narrowed down no more than so many are looked through; the next part goes on behind them.
async fn of_a_person(db: &Database) {
    let recent = async |filter: &RecentFilter| db.recent(filter).await.unwrap();
    let failed = RecentFilter {
        user: Some("mary-ann".to_owned()),
        class: Some(Class::Fail),
        limit: 9,
        ..RecentFilter::default()
    };
    let all = recent(&RecentFilter { class: None, ..failed.clone() }).await;
    let failures = |rows: &[ResultRow]| -> Vec<i64> {
        rows.iter().filter(|row| row.class() == Class::Fail).map(|row| row.id).collect()
    };
    let mut part = failed.clone();
    let mut found = failures(&recent(&part).await);
    let looked = usize::try_from(LOOKED_THROUGH).unwrap().min(all.len());
    assert!(looked > 1 && found == failures(&all[..looked]), "{found:?}");
    while let Some(before) = db.looked_to(&part).await.unwrap() {
        part.before = Some(before);
        found.extend(failures(&recent(&part).await));
    }
    assert_eq!(found, failures(&all));
    assert!(db.looked_to(&RecentFilter { class: None, ..failed }).await.unwrap().is_none());
}

async fn lists(db: &Database, said: &Standing) {
    let failing = |has_passed| StandingList::Failing { has_passed };
    let others: Vec<Pair> = vec!["questing/x".parse().unwrap(), pair()];
    for list in [failing(None), StandingList::Slow, StandingList::Stale] {
        for ascending in [true, false] {
            let pairs = others.clone();
            let all = StandingsFilter { list, pairs, package: None, ascending, after: None, limit: 10 };
            let of_package = StandingsFilter { package: Some(said.package.parse().unwrap()), ..all.clone() };
            for filter in [all.clone(), of_package] {
                assert_eq!(db.standings(&filter).await.unwrap(), std::slice::from_ref(said), "{filter:?}");
                let behind = StandingsFilter { after: Some(list.key(said)), ..filter.clone() };
                assert!(db.standings(&behind).await.unwrap().is_empty(), "{behind:?}");
                let none = StandingsFilter { pairs: others[..1].to_vec(), ..filter };
                assert!(db.standings(&none).await.unwrap().is_empty());
            }
            let other = StandingsFilter { package: Some("other".parse().unwrap()), ..all };
            assert!(db.standings(&other).await.unwrap().is_empty());
        }
    }
    for (has_passed, number) in [(true, 1), (false, 0)] {
        let list = failing(Some(has_passed));
        for package in [None, Some(said.package.parse().unwrap())] {
            let pairs = vec![pair()];
            let filter = StandingsFilter { list, pairs, package, ascending: true, after: None, limit: 10 };
            assert_eq!(db.standings(&filter).await.unwrap().len(), number);
        }
    }
    // The same inputs said otherwise: twice, for the failure that came first had none before it.
    for newest_first in [true, false] {
        let filter = FlakyFilter {
            release: Some("questing".to_owned()),
            package: Some("blue".to_owned()),
            from: "2026".to_owned(),
            newest_first,
            limit: 10,
            ..FlakyFilter::default()
        };
        let flaky = db.flaky(&filter).await.unwrap();
        let [flaky] = flaky.as_slice() else { panic!("{flaky:?}") };
        assert_eq!(
            (flaky.package.as_str(), flaky.flips, flaky.last_run_id.as_str()),
            ("blue", 1, RUN_IDS[1])
        );
        let key = FlakyKey {
            flips: flaky.flips,
            last_run_id: flaky.last_run_id.clone(),
            package: flaky.package.clone(),
            release: flaky.release.clone(),
            arch: flaky.arch.clone(),
        };
        assert!(db.flaky(&FlakyFilter { after: Some(key), ..filter.clone() }).await.unwrap().is_empty());
        let other = FlakyFilter { package: Some("other".to_owned()), ..filter };
        assert!(db.flaky(&other).await.unwrap().is_empty());
    }
}

/// The index is dropped, and comes back from the store.
async fn dropped_and_back(db: &Database, epoch: i64, fresh: StoredResult) {
    add(db, epoch, &[]).await;
    let package = "blue".parse().unwrap();
    let counts = async || {
        let rows = db.all_time("results").await.unwrap().into_iter().filter(|row| row.release == "questing");
        rows.map(|row| (row.name, row.n)).collect::<Vec<_>>()
    };
    let before = (db.standings_of(&package).await.unwrap(), counts().await);
    db.execute("DELETE FROM results WHERE arch = 'riscv64'", vec![]).await.unwrap();
    add(db, epoch, &[]).await;
    assert!(db.standings_of(&package).await.unwrap().is_empty() && counts().await.is_empty());
    let ended = [(RUN_IDS[0], 6), (RUN_IDS[1], 0), (RUN_IDS[2], 4), ("20261101_130000_aaaaa@", 16)];
    let mut again: Vec<StoredResult> = ended.iter().map(|(id, code)| blue(OWN, id, *code)).collect();
    again.extend([blue(PPA, "20261102_100000_aaaaa@", 0), fresh]);
    add(db, epoch, &again).await;
    assert_eq!((db.standings_of(&package).await.unwrap(), counts().await), before);
    partly_dropped_and_back(db, epoch, &again).await;
    assert_eq!((db.standings_of(&package).await.unwrap(), counts().await), before);
}

/// What was summed up last stays: whoever rebuilds says that rows were deleted.
async fn partly_dropped_and_back(db: &Database, epoch: i64, results: &[StoredResult]) {
    let before = db.all_time("results").await.unwrap();
    let dropped = db.execute("DELETE FROM results WHERE container = 'autopkgtest-questing'", vec![]).await;
    assert_eq!(dropped.unwrap(), 5);
    db.sum_up_anew().await.unwrap();
    add(db, epoch, results).await;
    // One result gets another edition then, and is summed up with it; that is all.
    add(db, epoch, &[]).await;
    assert_eq!(db.sum_up(epoch, 10).await.unwrap(), 0);
    assert_eq!(db.all_time("results").await.unwrap(), before);
    let dangling = "SELECT count(*) FROM triggered WHERE result NOT IN (SELECT id FROM results)";
    assert_eq!(db.one::<(i64,)>(dangling, vec![]).await.unwrap(), (0,));
}

async fn by_days(db: &Database) {
    let steps = async |by, release| {
        let rows = db.steps("results", by, 0, 24 * super::super::HOUR_US, release).await.unwrap();
        assert!(rows.iter().all(|row| row.step > 0 && row.step % (24 * super::super::HOUR_US) == 0));
        rows.into_iter().map(|row| (row.name, row.n, row.total)).collect::<Vec<_>>()
    };
    let days = steps(StepBy::Name, Some("questing")).await;
    assert_eq!(days.iter().filter(|(name, ..)| name == "pass").map(|day| day.1).collect::<Vec<_>>(), [1, 1]);
    let arches = steps(StepBy::Arch, Some("questing")).await;
    assert_eq!(arches, [("riscv64".to_owned(), 4, 28), ("riscv64".to_owned(), 1, 7)]);
    assert!(steps(StepBy::Arch, None).await.len() >= 2 && steps(StepBy::Arch, Some("x")).await.is_empty());
}

async fn what_was_said_before(db: &Database, rows: &[ResultRow]) {
    // What infrastructure did in between is no word of the test.
    let before = db.said_before(&rows.iter().collect::<Vec<_>>()).await.unwrap();
    let before: Vec<_> = rows.iter().map(|row| row.exit_code).zip(before).collect();
    assert_eq!(before[..2], [(8, Some(4)), (0, None)], "{before:?}");
    assert_eq!(before[2..], [(16, Some(4)), (4, Some(0)), (0, Some(6)), (6, None)]);
    assert!(db.said_before(&[]).await.unwrap().is_empty());
}
