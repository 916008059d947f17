//! Which names a page of a listing holds: Swift's rules over any sorted names that can be searched forward.
//!
//! Facts: contract "Results", heading "What readers do", and Swift's `ContainerBroker.list_objects_iter`.

use super::{ListQuery, MAX_PAGE};

/// One line of a listing, by name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    /// An object.
    Object(String),
    /// Names rolled up to a common beginning.
    Prefix(String),
}

impl Row {
    #[cfg(any(test, feature = "behaviour"))]
    fn name(&self) -> &str {
        match self {
            Self::Object(name) | Self::Prefix(name) => name,
        }
    }
}

/// Names in byte order, each once. It is only ever searched forward.
pub(super) trait Names {
    /// Why they could not be read.
    type Error;

    /// The smallest name that is not smaller than `bound`. Bounds are bytes: one may lie between two characters.
    fn at_or_after(&mut self, bound: &[u8]) -> Result<Option<String>, Self::Error>;
}

/// One page. Below a rolled-up name nothing is looked at but its first object.
///
/// As in Swift, a marker that lies below a rolled-up name does not hide that name; a marker equal to it does.
pub(super) fn page<N: Names>(names: &mut N, query: &ListQuery) -> Result<Vec<Row>, N::Error> {
    let limit = query.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let mut bound = first_bound(query);
    let mut rows = Vec::new();
    while rows.len() < limit {
        let Some(name) = names.at_or_after(&bound)?.filter(|name| name.starts_with(&query.prefix)) else {
            break;
        };
        if let Some(rolled_up) = roll_up(&name, query) {
            bound = behind_prefix(rolled_up);
            if rolled_up != query.marker {
                rows.push(Row::Prefix(rolled_up.to_owned()));
            }
        } else {
            bound = behind(&name);
            rows.push(Row::Object(name));
        }
    }
    Ok(rows)
}

/// The beginning of `name` up to and with the first delimiter behind the prefix.
fn roll_up<'a>(name: &'a str, query: &ListQuery) -> Option<&'a str> {
    let delimiter = query.delimiter.as_deref().filter(|d| !d.is_empty())?;
    let behind = name.strip_prefix(query.prefix.as_str())?;
    let end = query.prefix.len() + behind.find(delimiter)? + delimiter.len();
    Some(&name[..end])
}

fn first_bound(query: &ListQuery) -> Vec<u8> {
    let prefix = query.prefix.as_bytes().to_vec();
    if query.marker.is_empty() { prefix } else { prefix.max(behind(&query.marker)) }
}

/// The smallest bytes greater than `name`.
fn behind(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

/// The smallest bytes greater than every name that begins with `prefix`.
fn behind_prefix(prefix: &str) -> Vec<u8> {
    let mut bound = prefix.as_bytes().to_vec();
    if let Some(last) = bound.last_mut() {
        *last = last.saturating_add(1); // never 0xff in UTF-8
    }
    bound
}

/// The same rules said in the plainest way, over all names at once: what every store is compared with.
#[cfg(any(test, feature = "behaviour"))]
pub(super) fn model<'a>(sorted: impl IntoIterator<Item = &'a str>, query: &ListQuery) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for name in sorted {
        if !name.starts_with(&query.prefix) || name <= query.marker.as_str() {
            continue;
        }
        let row = match query.delimiter.as_deref().filter(|d| !d.is_empty()) {
            Some(delimiter) if name[query.prefix.len()..].contains(delimiter) => {
                let (head, _) = name[query.prefix.len()..].split_once(delimiter).unwrap_or_default();
                Row::Prefix([&query.prefix, head, delimiter].concat())
            }
            _ => Row::Object(name.to_owned()),
        };
        let repeated = rows.last() == Some(&row);
        let is_marker = matches!(row, Row::Prefix(_)) && row.name() == query.marker;
        if !repeated && !is_marker {
            rows.push(row);
        }
    }
    rows.truncate(query.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE));
    rows
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, convert::Infallible};

    use proptest::prelude::*;

    use super::*;

    struct Sorted<'a>(&'a BTreeSet<String>, Vec<u8>);

    impl Names for Sorted<'_> {
        type Error = Infallible;
        fn at_or_after(&mut self, bound: &[u8]) -> Result<Option<String>, Infallible> {
            assert!(bound >= self.1.as_slice(), "searched backward");
            self.1 = bound.to_vec();
            Ok(self.0.iter().find(|name| name.as_bytes() >= bound).cloned())
        }
    }

    fn rows(names: &BTreeSet<String>, query: &ListQuery) -> Vec<Row> {
        let Ok(rows) = page(&mut Sorted(names, Vec::new()), query);
        rows
    }

    #[test]
    fn as_britney_asks() {
        let folder = "noble/amd64/h/hello/";
        let run = |id: &str| format!("{folder}{id}@");
        let names: BTreeSet<String> = ["20260101_000000_aaaaa", "20260102_000000_bbbbb"]
            .iter()
            .flat_map(|id| ["log.gz", "result.tar"].map(|file| format!("{}/{file}", run(id))))
            .collect();
        let mut query =
            ListQuery { prefix: folder.into(), delimiter: Some("@".into()), ..ListQuery::default() };
        let all = ["20260101_000000_aaaaa", "20260102_000000_bbbbb"].map(|id| Row::Prefix(run(id)));
        assert_eq!(rows(&names, &query), all);
        query.marker = run("20260101_000000_aaaaa");
        assert_eq!(rows(&names, &query), all[1..]);
        query.marker = run("20260102_000000_bbbbb");
        assert_eq!(rows(&names, &query), []);
    }

    fn name() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop::sample::select(vec!["a", "b", "/", "@", ".", "0", "é", "@@"]), 1..7)
            .prop_map(|parts| parts.concat())
    }

    fn part() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), name()]
    }

    proptest! {
        #[test]
        fn equals_the_model(
            names in proptest::collection::btree_set(name(), 0..40),
            (prefix, marker) in (part(), part()),
            delimiter in proptest::option::of(prop::sample::select(vec!["", "/", "@", "@@", "a/", "é"])),
            limit in proptest::option::of(0usize..6),
        ) {
            let query = ListQuery { prefix, delimiter: delimiter.map(str::to_owned), marker, limit };
            prop_assert_eq!(rows(&names, &query), model(names.iter().map(String::as_str), &query));
        }

        #[test]
        fn pages_add_up_to_the_whole(
            names in proptest::collection::btree_set(name(), 0..40),
            prefix in part(),
            delimiter in proptest::option::of(prop::sample::select(vec!["/", "@"])),
            limit in 1usize..5,
        ) {
            let mut query = ListQuery { prefix, delimiter: delimiter.map(str::to_owned), ..ListQuery::default() };
            let whole = rows(&names, &query);
            query.limit = Some(limit);
            let mut pages = Vec::new();
            loop {
                let page = rows(&names, &query);
                let Some(last) = page.last() else { break };
                last.name().clone_into(&mut query.marker);
                pages.extend(page);
            }
            prop_assert_eq!(pages, whole);
        }
    }
}
