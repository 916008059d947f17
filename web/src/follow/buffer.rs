//! What is kept of a log that grows: its beginning and its end, as the page shows them.

use std::{
    collections::VecDeque,
    iter::successors,
    sync::Arc,
    time::{Duration, Instant},
};

use askama::Template;
use base64::{Engine, prelude::BASE64_STANDARD};
use proofhouse_core::watch::{PULSE_SECONDS, Piece};

use crate::log::{LineView, Lines, Marks, Raw};

/// How much of the beginning is kept, in bytes of the page.
const HEAD: usize = 256 << 10;
/// How much of the end is kept, in bytes of the page.
const TAIL: usize = 768 << 10;
/// Lines are kept, sent and dropped together up to about this size, in bytes of the page: what comes at once can be far more.
const BATCH: usize = 64 << 10;
/// A worker that says nothing for so long is away.
const SILENCE: Duration = Duration::from_secs(4 * PULSE_SECONDS);

/// Lines, as the page shows them.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The number of the last line.
    pub(crate) last: u64,
    pub(crate) html: String,
}

/// How it stands with a log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was heard of it yet.
    #[default]
    Unheard,
    /// It grows.
    Grows,
    /// Its worker says nothing any more.
    Silent,
    /// It is complete, or its attempt is over.
    Over,
}

impl Phase {
    pub(crate) fn is_unheard(self) -> bool {
        self == Self::Unheard
    }
}

/// What a message brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) changed: bool,
    /// Something before it is missing.
    pub(super) missed: bool,
}

/// A log that grows.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// How much came, in bytes of the log.
    pub(super) end: u64,
    lines: Lines,
    marks: Marks,
    kept: Kept,
    phase: Phase,
    /// When its worker last said anything.
    pub(super) heard: Option<Instant>,
}

/// What is kept of its lines.
#[derive(Debug, Default)]
struct Kept {
    head: Vec<Arc<Batch>>,
    head_size: usize,
    tail: VecDeque<Arc<Batch>>,
    tail_size: usize,
    /// The last line that is kept no more; 0: all are.
    dropped: u64,
    /// The last line of the newest batch.
    last: u64,
    /// What is in no batch yet.
    fresh: String,
}

#[derive(Template)]
#[template(path = "parts/line.html")]
struct LineHtml {
    line: LineView,
}

#[derive(Template)]
#[template(
    source = "<em>… {% if lines > 0 %}{{ lines }} line{% if lines != 1 %}s{% endif %}{% else %}a part of a line{% endif %} left out: the stored log will have {% if lines == 1 %}it{% else %}them{% endif %} …\n</em>",
    ext = "html"
)]
struct GapHtml {
    lines: u64,
}

impl Buffer {
    /// Takes in what came.
    pub(super) fn hear(&mut self, piece: &Piece) -> Heard {
        if self.phase == Phase::Over {
            return Heard::default();
        }
        self.heard = Some(Instant::now());
        let mut heard = Heard { changed: self.set_phase(Phase::Grows), missed: false };
        let Ok(bytes) = BASE64_STANDARD.decode(&piece.bytes) else { return heard };
        if piece.after > self.end {
            return Heard { missed: true, ..heard };
        }
        // What came before comes again where something was asked for twice.
        let known = usize::try_from(self.end.saturating_sub(piece.offset)).unwrap_or(usize::MAX);
        let new = &bytes[known.min(bytes.len())..];
        let before = self.kept.last;
        if piece.offset > self.end {
            // Numbers of lines only grow, whatever a worker says.
            let whole = piece.lines.max(self.lines.whole());
            let gap = GapHtml { lines: whole - self.lines.whole() };
            self.kept.fresh.push_str(&gap.render().unwrap_or_default());
            self.lines = Lines::behind(whole);
            self.end = piece.offset;
        }
        if known <= bytes.len() {
            self.end += new.len() as u64;
            self.lines.push(new, shower(&mut self.kept, &mut self.marks));
        }
        if piece.over {
            self.lines.finish(shower(&mut self.kept, &mut self.marks));
            heard.changed |= self.set_phase(Phase::Over);
        }
        self.kept.cut(self.lines.whole());
        heard.changed |= self.kept.last > before;
        heard
    }

    /// The first lines that came behind one. Where they are not kept any more, how many are left out.
    pub(super) fn first_behind(&self, line: u64) -> Option<Arc<Batch>> {
        let Kept { head, tail, dropped, .. } = &self.kept;
        if let Some(batch) = head.get(head.partition_point(|batch| batch.last <= line)) {
            return Some(batch.clone());
        }
        if *dropped > line {
            let html = GapHtml { lines: dropped - line }.render().unwrap_or_default();
            return Some(Arc::new(Batch { last: *dropped, html }));
        }
        tail.get(tail.partition_point(|batch| batch.last <= line)).cloned()
    }

    /// All that is kept of what came behind a line, and how many lines are left out.
    pub(crate) fn behind(&self, line: u64) -> Vec<Arc<Batch>> {
        successors(self.first_behind(line), |batch| self.first_behind(batch.last)).collect()
    }

    /// Its sections: the number of the first line, and the heading.
    pub(crate) fn sections(&self) -> Vec<(u64, String)> {
        self.marks.begun().iter().map(|section| (section.first, section.title.clone())).collect()
    }

    /// The number of the last line.
    pub(crate) fn last(&self) -> u64 {
        self.lines.whole()
    }

    pub(crate) const fn phase(&self) -> Phase {
        self.phase
    }

    /// True where it was another.
    pub(super) fn set_phase(&mut self, phase: Phase) -> bool {
        let is_new = self.phase != phase && self.phase != Phase::Over;
        if is_new {
            self.phase = phase;
        }
        is_new
    }

    /// True where its worker has said nothing for long.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.saturating_duration_since(heard) > SILENCE)
    }
}

impl Kept {
    /// Makes a batch of what is in none. Each ends with another line: by that it is known what a viewer has.
    fn cut(&mut self, last: u64) {
        if last <= self.last {
            return;
        }
        let mut html = std::mem::take(&mut self.fresh);
        // It grew by doubling.
        html.shrink_to_fit();
        let size = html.len();
        let batch = Arc::new(Batch { last, html });
        self.last = last;
        if self.tail.is_empty() && self.head_size + size <= HEAD {
            self.head_size += size;
            return self.head.push(batch);
        }
        self.tail_size += size;
        self.tail.push_back(batch);
        while self.tail_size > TAIL
            && self.tail.len() > 1
            && let Some(oldest) = self.tail.pop_front()
        {
            self.tail_size -= oldest.html.len();
            self.dropped = oldest.last;
        }
    }
}

/// Adds each line to what the page shows.
fn shower(kept: &mut Kept, marks: &mut Marks) -> impl FnMut(Raw<'_>) -> bool {
    move |raw| {
        let section = marks.read(raw).map(|section| section.title.clone());
        let line = LineView { section, ..LineView::new(raw, format!("#L{}", raw.number), false) };
        // Writing to a String cannot fail.
        let _ = LineHtml { line }.render_into(&mut kept.fresh);
        if kept.fresh.len() >= BATCH {
            kept.cut(raw.number);
        }
        true
    }
}
