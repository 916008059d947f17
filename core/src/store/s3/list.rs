//! Listings with Swift's rules, from ListObjectsV2.
//!
//! Only `start-after` is used to go on: its meaning is the same everywhere, as long as it does not lie below a name
//! that is rolled up (there servers differ).

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;

use super::{Failure, OURS, Place, S3, timestamp, unquoted};
use crate::store::{ContentHeaders, Entry, ListQuery, MAX_PAGE, is_answer};

/// The longest page of S3.
const S3_PAGE: usize = 1000;

/// Greater than every other character.
const LAST: char = char::MAX;

/// A listing on its way.
struct Listing<'a> {
    query: &'a ListQuery,
    delimiter: Option<&'a str>,
    /// Only names greater than this are still to come.
    after: String,
    entries: Vec<Entry>,
}

impl S3 {
    /// One page with Swift's rules.
    pub(super) async fn page(&self, place: &Place, query: &ListQuery) -> Result<Vec<Entry>, Failure> {
        let limit = query.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE);
        let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let after = query.marker.clone();
        let mut listing = Listing { query, delimiter, after, entries: Vec::new() };
        if let Some(rolled_up) = listing.roll_up(&query.marker) {
            // What follows the marker below a rolled-up name still shows that name, unless the marker is it.
            if rolled_up != query.marker {
                let rest = self.ask(place, &rolled_up, None, &query.marker, 1).await?;
                listing.entries.extend(rest.contents().first().map(|_| Entry::Prefix(rolled_up.clone())));
            }
            listing.after = behind(&rolled_up);
        }
        loop {
            let room = limit.saturating_sub(listing.entries.len()).clamp(1, S3_PAGE);
            let native = delimiter.filter(|delimiter| is_native(delimiter));
            let before = listing.after.clone();
            let answer = self.ask(place, &query.prefix, native, &before, room).await?;
            listing.take(&answer, &place.prefix);
            if answer.is_truncated() == Some(true) && listing.after <= before {
                return Err(Failure::other_listing());
            }
            if answer.is_truncated() != Some(true) || listing.entries.len() >= limit {
                listing.entries.truncate(limit);
                return if is_answer(&listing.entries, query) {
                    Ok(listing.entries)
                } else {
                    Err(Failure::other_listing())
                };
            }
        }
    }

    /// The names of our own records in the one bucket.
    pub(super) async fn recorded(&self, bucket: &str, prefix: &str) -> Result<Vec<String>, Failure> {
        let place = Place { bucket: bucket.to_owned(), prefix: super::access::records() };
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let answer = match self.ask(&place, prefix, None, &after, S3_PAGE).await {
                Err(failure) if failure.no_bucket() => return Ok(names),
                answer => answer?,
            };
            let keys =
                answer.contents().iter().filter_map(|object| object.key()?.strip_prefix(&place.prefix));
            names.extend(keys.map(str::to_owned));
            match names.last() {
                Some(last) if answer.is_truncated() == Some(true) && *last <= after => {
                    return Err(Failure::other_listing());
                }
                Some(last) if answer.is_truncated() == Some(true) => after.clone_from(last),
                _ => return Ok(names),
            }
        }
    }

    /// The names of all buckets.
    pub(super) async fn buckets(&self) -> Result<Vec<String>, Failure> {
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let request = self.client().await.list_buckets().set_continuation_token(token.clone());
            let answer = request.send().await?;
            names.extend(answer.buckets().iter().filter_map(|bucket| bucket.name()).map(str::to_owned));
            let next = answer.continuation_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if next.is_some() && next == token {
                return Err(Failure::other_listing());
            }
            token = next;
            if token.is_none() {
                return Ok(names);
            }
        }
    }

    async fn ask(
        &self,
        place: &Place,
        prefix: &str,
        delimiter: Option<&str>,
        after: &str,
        max: usize,
    ) -> Result<ListObjectsV2Output, Failure> {
        let request = self.client().await.list_objects_v2().bucket(&place.bucket).prefix(place.key(prefix));
        let request = request.set_delimiter(delimiter.map(str::to_owned));
        let after = (!after.is_empty()).then(|| place.key(after));
        let request = request.set_start_after(after).max_keys(i32::try_from(max).unwrap_or(1000));
        Ok(request.send().await?)
    }
}

impl Listing<'_> {
    /// Takes a page in: its objects and its rolled-up names come one behind the other.
    fn take(&mut self, answer: &ListObjectsV2Output, inside: &str) {
        let objects = answer.contents().iter().filter_map(|object| {
            let name = object.key()?.strip_prefix(inside)?.to_owned();
            let file = name.rsplit('/').next().unwrap_or(&name);
            let content_type = ContentHeaders::of(file).content_type.unwrap_or_default();
            Some(Entry::Object {
                length: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
                etag: unquoted(object.e_tag()),
                modified: object.last_modified().and_then(timestamp),
                content_type,
                name,
            })
        });
        let prefixes =
            answer.common_prefixes().iter().filter_map(|prefix| prefix.prefix()?.strip_prefix(inside));
        let mut page: Vec<Entry> =
            objects.chain(prefixes.map(|name| Entry::Prefix(name.to_owned()))).collect();
        page.sort_by(|one, other| one.name().cmp(other.name()));
        for entry in page {
            self.add(entry);
        }
    }

    fn add(&mut self, entry: Entry) {
        let entry = match self.roll_up(entry.name()) {
            Some(rolled_up) => Entry::Prefix(rolled_up),
            None => entry,
        };
        let name = entry.name();
        self.after = if matches!(entry, Entry::Prefix(_)) { behind(name) } else { name.to_owned() };
        let seen = self.entries.last().is_some_and(|last| last.name() == name);
        let is_marker = matches!(entry, Entry::Prefix(_)) && name == self.query.marker;
        if !seen && !is_marker && !name.starts_with(OURS) {
            self.entries.push(entry);
        }
    }

    /// The beginning of `name` up to and with the first delimiter behind the prefix.
    fn roll_up(&self, name: &str) -> Option<String> {
        let delimiter = self.delimiter?;
        let end = name.strip_prefix(self.query.prefix.as_str())?.find(delimiter)?;
        Some(name[..self.query.prefix.len() + end + delimiter.len()].to_owned())
    }
}

/// S3's delimiter is one character. Longer ones are rolled up here, from the plain names.
fn is_native(delimiter: &str) -> bool {
    delimiter.len() == 1
}

/// Greater than every name that begins with `rolled_up`.
fn behind(rolled_up: &str) -> String {
    format!("{rolled_up}{LAST}")
}
