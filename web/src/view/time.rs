//! Times as people read them: how long ago, and exactly when.

use std::fmt;

use askama::filters::HtmlSafe;
use jiff::Timestamp;

/// A moment, seen from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When {
    at: Timestamp,
    now: Timestamp,
}

impl When {
    pub(crate) const fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, now }
    }

    /// From microseconds since 1970.
    pub(crate) fn micros(at_us: i64, now: Timestamp) -> Self {
        Self { at: Timestamp::from_microsecond(at_us).unwrap_or(Timestamp::UNIX_EPOCH), now }
    }

    /// The moment itself.
    pub(crate) const fn at(&self) -> Timestamp {
        self.at
    }

    fn relative(&self) -> String {
        let seconds = self.now.as_second() - self.at.as_second();
        let text = rough(seconds.abs());
        if seconds < 0 { format!("in {text}") } else { format!("{text} ago") }
    }
}

impl fmt::Display for When {
    /// As HTML: digits and words of this program alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iso = self.at.strftime("%Y-%m-%dT%H:%M:%SZ");
        let exact = self.at.strftime("%Y-%m-%d %H:%M");
        let relative = self.relative();
        write!(f, "<time datetime=\"{iso}\" title=\"{iso}\">{exact} <small>{relative}</small></time>")
    }
}

impl HtmlSafe for When {}

/// One number and its unit.
fn rough(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        172_800..63_072_000 => format!("{} days", seconds / 86_400),
        _ => format!("{} years", seconds / 31_536_000),
    }
}

/// A length of time to the second.
pub(crate) fn duration(seconds: i64) -> String {
    match seconds.max(0) {
        s @ ..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        s => format!("{} h {:02} min", s / 3600, s / 60 % 60),
    }
}

/// A size in bytes, in the largest unit that leaves a number over 1.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, factor) in UNITS {
        if bytes >= factor {
            let tenths = u128::from(bytes) * 10 / u128::from(factor);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_read_them() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let at = |text: &str| When::new(text.parse().unwrap(), now).relative();
        assert_eq!(at("2026-11-21T11:59:30Z"), "30 s ago");
        assert_eq!(at("2026-11-21T12:05:00Z"), "in 5 min");
        assert_eq!(at("2026-11-18T12:00:00Z"), "3 days ago");
        assert_eq!(
            (duration(59), duration(61), duration(7260)),
            ("59 s".into(), "1 min 01 s".into(), "2 h 01 min".into())
        );
        assert_eq!((size(3), size(1536)), ("3 bytes".into(), "1.5 KiB".into()));
    }
}
