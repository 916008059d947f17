//! From an address to a container and an object. No address leads out of the store.

use percent_encoding::percent_decode_str;
use proofhouse_core::layout::Container;

/// An object's name that no store may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeadsOut;

/// What an address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) container: Container,
    /// None for the container itself.
    pub(super) object: Option<Result<String, LeadsOut>>,
}

impl Place {
    /// Reads a path as it came, still encoded. None where it names no container.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/results/")?;
        let (container, object) = rest.split_once('/').unwrap_or((rest, ""));
        let container = percent_decode_str(container).decode_utf8().ok()?.parse().ok()?;
        Some(Self { container, object: (!object.is_empty()).then(|| name(object)) })
    }
}

/// Decodes once, then looks: what an encoding hid is seen.
fn name(encoded: &str) -> Result<String, LeadsOut> {
    let name = percent_decode_str(encoded).decode_utf8().map_err(|_| LeadsOut)?;
    let good = !name.contains(['\0', '\\'])
        && name.len() <= 1024
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if good { Ok(name.into_owned()) } else { Err(LeadsOut) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Option<(String, Option<Result<String, LeadsOut>>)> {
        Place::parse(path).map(|p| (p.container.to_string(), p.object))
    }

    #[test]
    fn containers_and_objects() {
        let container = |object| Some(("autopkgtest-noble".to_owned(), object));
        assert_eq!(of("/results/autopkgtest-noble"), container(None));
        assert_eq!(of("/results/autopkgtest-noble/"), container(None));
        assert_eq!(of("/results/autopkgtest-noble/a/b%40/c"), container(Some(Ok("a/b@/c".to_owned()))));
        assert_eq!(of("/results/autopkgtest%2Dnoble/libstdc++"), container(Some(Ok("libstdc++".to_owned()))));
    }

    #[test]
    fn nothing_leads_out() {
        for object in [
            "..",
            "../x",
            "a/../b",
            "%2e%2e/x",
            "%2E./x",
            "a//b",
            "/a",
            "a/",
            "a/./b",
            "..%2fx",
            "a%2f..%2fb",
            "a%00b",
            "%ff",
            "a%5c..%5cb",
            "%2fetc/passwd",
        ] {
            let place = Place::parse(&format!("/results/c/{object}")).unwrap();
            assert_eq!(place.object, Some(Err(LeadsOut)), "{object}");
        }
        for path in [
            "/results",
            "/results/",
            "/results//x",
            "/results/..",
            "/results/%2e%2e/x",
            "/results/a%2fb",
            "/results/a b",
            "/x",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
