//! HTTP's headers for parts of an object.

use super::ByteRange;

/// The value of `Range`.
pub(super) fn range(range: ByteRange) -> String {
    match range {
        ByteRange::From(first, None) => format!("bytes={first}-"),
        ByteRange::From(first, Some(last)) => format!("bytes={first}-{last}"),
        ByteRange::Last(n) => format!("bytes=-{n}"),
    }
}

/// `Content-Range`, `bytes 0-4/12` or `bytes */12`: the part, and the whole length.
pub(super) fn content_range(text: &str) -> Option<(Option<(u64, u64)>, u64)> {
    let (part, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    let part = match part {
        "*" => None,
        part => {
            let (first, last) = part.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        }
    };
    Some((part, length.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        assert_eq!(range(ByteRange::From(1, Some(2))), "bytes=1-2");
        assert_eq!(range(ByteRange::From(1, None)), "bytes=1-");
        assert_eq!(range(ByteRange::Last(3)), "bytes=-3");
        assert_eq!(content_range("bytes 0-4/12"), Some((Some((0, 4)), 12)));
        assert_eq!(content_range("bytes */12"), Some((None, 12)));
        assert_eq!(content_range("bytes 1-/12"), None);
    }
}
