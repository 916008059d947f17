//! A log as pages show it.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::Stream;
use proofhouse_core::{layout::Container, store::StoreError};

use super::{
    feed::feed,
    index::{End, Index, Scan, most_scanned},
    known::Stored,
    lines::Raw,
    marks::{Marks, Section, Verdict},
    part::{MOST_SHOWN, Part, Shown, Sought},
    styled::{Piece, styled},
    wanted::Wanted,
};
use crate::{app::App, failure::Failure, view::size};

/// Of a log that is too long for a page this many lines of the beginning are shown, and then as many of the end as fit.
const HEAD_LINES: usize = MOST_SHOWN * 3 / 10;
/// A part of a log, or a search, takes no longer.
pub(super) const LONGEST_READ: Duration = Duration::from_secs(5);
/// Who follows a link to a line sees so many before it.
const BEFORE: u64 = 10;

/// A log in sections, with what must be said of it. Its template is `parts/log.html`.
pub(crate) struct LogView {
    /// The whole file.
    pub(crate) raw_path: String,
    /// The page.
    path: String,
    pub(crate) wanted: Wanted,
    pub(crate) sections: Vec<SectionView>,
    /// To read as far as what was asked for took too long.
    pub(crate) late: bool,
    /// How many lines it has; none while it is still read.
    pub(crate) lines: Option<u64>,
    /// How many of them are left out in its middle.
    pub(crate) left_out: u64,
    /// What was found, where something was searched for.
    pub(crate) found: Option<Found>,
    /// The parts before and behind.
    pub(crate) previous: Option<String>,
    pub(crate) next: Option<String>,
    /// The log was not read to its end: it is longer than this.
    pub(crate) endless: Option<String>,
    /// The file is damaged, or ends too early.
    pub(crate) damaged: bool,
}

/// What a search found.
pub(crate) struct Found {
    /// In so many lines.
    pub(crate) hits: u64,
    /// Of so many.
    pub(crate) searched: u64,
    /// So many of them are shown.
    pub(crate) shown: u64,
    /// It ended before the log did.
    pub(crate) late: bool,
}

/// A section.
pub(crate) struct SectionView {
    pub(crate) title: Cow<'static, str>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) open: bool,
    /// How many lines it has; none while the log is still read.
    pub(crate) lines: Option<u64>,
    pub(crate) items: Vec<Item>,
}

/// What stands in a section.
pub(crate) enum Item {
    Line(LineView),
    /// Lines that are not on this page.
    Gap {
        lines: u64,
        /// Where they are.
        path: String,
    },
}

/// A line.
pub(crate) struct LineView {
    pub(crate) number: u64,
    /// Its address.
    pub(crate) path: String,
    pub(crate) pieces: Vec<Piece>,
    /// It was searched for.
    pub(crate) hit: bool,
    /// It is longer than what is shown.
    pub(crate) cut: bool,
    /// The section that it begins, where nothing else says so.
    pub(crate) section: Option<String>,
}

impl LineView {
    pub(crate) fn new(line: Raw<'_>, path: String, hit: bool) -> Self {
        Self {
            number: line.number,
            path,
            pieces: styled(&String::from_utf8_lossy(line.text)),
            hit,
            cut: line.length > line.text.len() as u64,
            section: None,
        }
    }
}

impl LogView {
    /// Reads a log from the store, as the address of its page, `path` and `query`, asks for it. `missing` is said where it is not
    /// there.
    pub(crate) async fn read(
        app: &App,
        (container, object): (&Container, &str),
        (path, query): (&str, &str),
        raw_path: String,
        missing: impl FnOnce() -> Failure,
    ) -> Result<Self, Failure> {
        let wanted = Wanted::parse(query)?;
        let pattern = wanted.pattern()?;
        let info = app.store().head(container, object).await.map_err(|error| {
            // The site's account may be one that does not read what is not public.
            let hidden = container.is_private() && matches!(error, StoreError::Forbidden { .. });
            if error.is_missing() || hidden { missing() } else { error.into() }
        })?;
        let log = Stored::new(container, object, info);
        let index = log.index(app).await?;
        let index = index.as_deref();
        let part = match index {
            Some(index) if pattern.is_none() && wanted.from.is_none() => both_ends(index),
            _ => {
                let from = wanted.from.unwrap_or(1);
                let is_search = pattern.is_some();
                let sought = |until| Sought { from, pattern, until, most: log.most() };
                log.part(app, index, from, is_search, sought).await?
            }
        };
        let most = log.most();
        Ok(Self::new(path.to_owned(), raw_path, wanted, index, part, most))
    }

    /// A log that comes so, as a page shows it where nothing else is asked for.
    pub(crate) async fn whole<S>(raw_path: String, stream: S) -> Option<Self>
    where
        S: Stream<Item = Result<Bytes, StoreError>> + Unpin,
    {
        let scan = Scan::new(most_scanned(0), Instant::now() + LONGEST_READ);
        let index = feed(stream, scan).await.ok()?.finish();
        let part = both_ends(&index);
        Some(Self::new(String::new(), raw_path, Wanted::default(), Some(&index), part, most_scanned(0)))
    }

    fn new(
        path: String,
        raw_path: String,
        wanted: Wanted,
        index: Option<&Index>,
        part: Part,
        most: u64,
    ) -> Self {
        let is_search = wanted.query.is_some();
        let is_part = is_search || wanted.from.is_some();
        let shown = part.lines.len() as u64;
        let lines = index.map(|index| index.lines);
        let found = is_search.then(|| Found {
            hits: part.hits,
            searched: part.searched,
            shown: part.lines.iter().filter(|line| line.hit).count() as u64,
            late: part.late,
        });
        let next = part.next.map(|next| wanted.link(&path, true, Some(next)));
        let before = wanted.from.filter(|from| *from > 1 && !is_search);
        let previous = before.map(|from| {
            let first = from.saturating_sub(MOST_SHOWN as u64).max(1);
            wanted.link(&path, false, Some(first))
        });
        let place = |line: u64| {
            let from = line.saturating_sub(if is_search { BEFORE } else { 0 }).max(1);
            format!("{}#L{line}", wanted.link(&path, false, Some(from)))
        };
        let gap = |first, lines| Item::Gap { lines, path: place(first) };
        let line = |line: Shown| {
            let path = if is_search { place(line.number) } else { format!("#L{}", line.number) };
            Item::Line(LineView::new(line.raw(), path, line.hit))
        };
        Self {
            late: part.late && !is_search,
            sections: match index {
                Some(index) => lay_out(&index.sections, index.lines, part.lines, is_part, line, gap),
                None => alone(part.lines, line),
            },
            lines,
            left_out: lines.filter(|_| !is_part).map_or(0, |lines| lines.saturating_sub(shown)),
            found,
            previous,
            next,
            endless: index.filter(|index| index.end == End::Endless).map(|index| size(index.bytes.min(most))),
            damaged: index.is_some_and(|index| index.end == End::Damaged),
            raw_path,
            wanted,
            path,
        }
    }

    /// The page, without its query.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The page of the whole log.
    pub(crate) fn all_path(&self) -> String {
        self.wanted.link(&self.path, false, None)
    }

    /// The same part again.
    pub(crate) fn here_path(&self) -> String {
        self.wanted.link(&self.path, false, self.wanted.from)
    }

    /// Which log, beside the path.
    pub(crate) fn fields(&self) -> Vec<(&'static str, &str)> {
        self.wanted.log().collect()
    }

    /// The log is long and still read: the page is to be asked for again.
    pub(crate) const fn is_early(&self) -> bool {
        self.lines.is_none()
    }
}

/// Beginning and end of a log; all of it, where that fits.
fn both_ends(index: &Index) -> Part {
    let mut part = Part::default();
    index.head(|line| part.lines.len() < HEAD_LINES && part.show(Shown::new(line, false)));
    let last = part.lines.last().map_or(0, |line| line.number);
    let room = (MOST_SHOWN - part.lines.len()) as u64;
    let first = (last + 1).max((index.lines + 1).saturating_sub(room));
    let mut tail: Vec<Shown> = Vec::new();
    index.tail(|line| {
        if line.number >= first {
            tail.push(Shown::new(line, false));
        }
        true
    });
    part.lines.extend(tail);
    part
}

/// Puts lines into their sections, with what is not shown of each.
fn lay_out(
    sections: &[Section],
    all: u64,
    shown: Vec<Shown>,
    is_part: bool,
    line_item: impl Fn(Shown) -> Item,
    gap: impl Fn(u64, u64) -> Item,
) -> Vec<SectionView> {
    let mut shown = shown.into_iter().peekable();
    let ends = sections.iter().skip(1).map(|next| next.first).chain([all + 1]);
    let of_section = |(section, end): (&Section, u64)| {
        let (mut items, mut expected, mut has_lines) = (Vec::new(), section.first, false);
        while let Some(line) = shown.next_if(|line| line.number < end) {
            if line.number > expected {
                items.push(gap(expected, line.number - expected));
            }
            expected = line.number + 1;
            has_lines = true;
            items.push(line_item(line));
        }
        if expected < end {
            items.push(gap(expected, end - expected));
        }
        SectionView {
            title: section.title.clone().into(),
            verdict: section.verdict,
            open: if is_part { has_lines } else { section.open },
            lines: Some(end - section.first),
            items,
        }
    };
    sections.iter().zip(ends).map(of_section).collect()
}

/// The same while nothing else is known of the log.
fn alone(shown: Vec<Shown>, line_item: impl Fn(Shown) -> Item) -> Vec<SectionView> {
    let mut marks = Marks::default();
    for line in &shown {
        marks.read(line.raw());
    }
    let last = shown.last().map_or(0, |line| line.number);
    let no_gap = |_, lines| Item::Gap { lines, path: String::new() };
    let from = shown.first().map(|line| line.number).filter(|from| *from > 1);
    let mut sections = lay_out(&marks.finish(), last, shown, true, line_item, no_gap);
    if let (Some(section), Some(from)) = (sections.first_mut(), from) {
        section.title = format!("from line {from}").into();
    }
    for section in &mut sections {
        section.items.retain(|item| matches!(item, Item::Line(_)));
        section.lines = None;
    }
    sections
}
