//! What a page may have in it, whatever somebody printed.

use std::sync::LazyLock;

use regex::Regex;

/// The elements of the templates.
static TAG: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        "^<(?:!doctype html|/?(?:html|head|meta|title|link|body|header|nav|main|footer|form|label|input|button|section|div|",
        "details|summary|h[1-6]|p|a|b|em|small|span|pre|ul|li|table|thead|tbody|tr|th|td|svg|path|select|option))",
        r#"(?: [a-zA-Z-]+(?:="[^"<>]*")?)*\s*/?>"#
    ))
    .expect("a constant pattern")
});
/// The templates' own scripts.
static SCRIPT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"<script src="/static/[a-z]+-[0-9a-f]{12}\.js" defer></script>"#)
        .expect("a constant pattern")
});
static HANDLER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"<[^<>]*(?: on[a-z]+=|="\s*javascript:|srcdoc=)"#).expect("a constant pattern")
});

/// Nothing but the templates' own elements, and no character that acts.
pub(crate) fn check(page: &str) {
    let head = page.find("<body>").unwrap_or_default();
    let page = &*format!("{}{}", SCRIPT.replace_all(&page[..head], ""), &page[head..]);
    for (at, _) in page.match_indices('<') {
        assert!(TAG.is_match(&page[at..]), "{:?}", page[at..].chars().take(80).collect::<String>());
    }
    assert!(!HANDLER.is_match(page), "an attribute that runs something");
    let acts = |c: char| (c.is_control() && !"\n\t".contains(c)) || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!page.contains(acts), "a character that acts");
}
