//! `result.tar` and what is in it.
//!
//! Facts: contract "Results", heading "Objects": plain tar, members at the top without `./`.

mod contents;

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use self::contents::{Contents, Packages, TestEnd, Verdict, test_packages};
use crate::request::Request;

/// A plain tar of small files, in their order.
pub fn result_tar(members: &[(&str, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content.as_slice())?;
    }
    tar.into_inner()
}

/// How a `log.gz` of ours begins (RFC 1952): deflate, no name and no time, of an unknown system.
pub const LOG_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// So much of a log is packed at once, in bytes. Behind each block but the last stands [`LOG_FLUSHED`], and the next one does not
/// refer to it: a log of ours can be read from the middle.
pub const LOG_BLOCK: usize = 64 << 10;
/// How a full flush ends (RFC 1951, 3.2.4: a stored block of nothing).
pub const LOG_FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];

/// gzip of a small text.
pub fn gzip(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text)?;
    encoder.finish()
}

/// Adds what readers need to `testinfo.json`: autopkgtest's own keys stay, the triggers are there in any case.
pub fn testinfo(found: Option<Map<String, Value>>, request: &Request, uuid: Uuid) -> Map<String, Value> {
    let mut info = found.unwrap_or_default();
    let triggers: Vec<String> = request.triggers.iter().map(ToString::to_string).collect();
    let has_environment = info.get("custom_environment").is_some_and(Value::is_array);
    if !has_environment && !triggers.is_empty() {
        info.insert(
            "custom_environment".to_owned(),
            json!([format!("ADT_TEST_TRIGGERS={}", triggers.join(" "))]),
        );
    }
    info.insert("uuid".to_owned(), json!(uuid));
    if request.all_proposed {
        info.insert("all-proposed".to_owned(), json!("1"));
    }
    if let Some(testname) = &request.testname {
        info.insert("testname".to_owned(), json!(testname));
    }
    info
}

/// The largest `result.tar` that is looked into, in bytes.
pub const MAX_RESULT: u64 = 64 << 20;

/// The most of one member that is looked at, in bytes.
const MAX_MEMBER: u64 = 1 << 20;

/// The regular files that can be read in a `result.tar`, by their names, and why the rest cannot.
///
/// A member of another kind is passed over: a sparse one of a few bytes says that it unpacks to any length.
pub(crate) fn members(bytes: &[u8]) -> (BTreeMap<String, String>, Option<String>) {
    let mut members = BTreeMap::new();
    let mut archive = tar::Archive::new(bytes);
    let entries = match archive.entries() {
        Ok(entries) => entries,
        Err(error) => return (members, Some(format!("it is no tar archive: {error}"))),
    };
    for entry in entries {
        let read = entry.and_then(|mut entry| {
            if !entry.header().entry_type().is_file() {
                return Ok(None);
            }
            let name = entry.path()?.display().to_string();
            let mut content = Vec::new();
            entry.by_ref().take(MAX_MEMBER).read_to_end(&mut content)?;
            // The tar crate gives what there is of a member that was cut off.
            let cut = (content.len() as u64) < entry.size().min(MAX_MEMBER);
            Ok(Some((name, String::from_utf8_lossy(&content).into_owned(), cut)))
        });
        match read {
            Ok(None) => {}
            Ok(Some((name, text, false))) => drop(members.insert(name, text)),
            Ok(Some(_)) => return (members, Some("it ends too early".to_owned())),
            Err(error) => return (members, Some(format!("it cannot be read to its end: {error}"))),
        }
    }
    (members, None)
}

/// What is wrong with a `result.tar`, if anything: readers need the exit code and the version in it.
pub fn damage(bytes: &[u8]) -> Option<String> {
    let (members, broken) = members(bytes);
    damage_in(&members, broken)
}

fn damage_in(members: &BTreeMap<String, String>, broken: Option<String>) -> Option<String> {
    if broken.is_some() {
        return broken;
    }
    let member = |name: &str| members.get(name).map(|text| text.trim());
    match (member("exitcode"), member("testpkg-version")) {
        (None, _) => Some("it has no exitcode".to_owned()),
        (Some(code), _) if code.parse::<i32>().is_err() => Some("its exitcode is no number".to_owned()),
        (_, None) => Some("it has no testpkg-version".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member of no bytes that says that it is very long.
    fn sparse(name: &str, length: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_size(0);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..name.len()].copy_from_slice(name.as_bytes());
        gnu.set_real_size(length);
        gnu.sparse[0].set_offset(length);
        gnu.sparse[0].set_length(0);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    #[test]
    fn a_few_bytes_do_not_unpack_to_any_length() {
        // One that is longer than any memory, and so many that each may be short.
        let mut bomb = sparse("exitcode", 1 << 45);
        bomb.extend((0..20_000).flat_map(|n| sparse(&n.to_string(), 1 << 20)));
        bomb.extend(result_tar(&[("exitcode", b"4\n".to_vec())]).unwrap());
        let (members, broken) = members(&bomb);
        assert_eq!((members.len(), broken), (1, None));
        assert_eq!(members["exitcode"], "4\n");
        assert_eq!(damage(&bomb).as_deref(), Some("it has no testpkg-version"));
    }

    #[test]
    fn members_lie_at_the_top() {
        let bytes = result_tar(&[("exitcode", b"0\n".to_vec()), ("duration", b"7\n".to_vec())]).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let read: Vec<(String, String)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                (entry.path().unwrap().display().to_string(), text)
            })
            .collect();
        assert_eq!(
            read,
            [("exitcode".to_owned(), "0\n".to_owned()), ("duration".to_owned(), "7\n".to_owned())]
        );
    }

    #[test]
    fn damaged_ones_are_told() {
        let good = [("exitcode", b"0\n".to_vec()), ("testpkg-version", b"green 2".to_vec())];
        let bytes = result_tar(&good).unwrap();
        assert_eq!(damage(&bytes), None);
        for bad in
            [&bytes[..700], b"nonsense", &result_tar(&good[..1]).unwrap(), &result_tar(&good[1..]).unwrap()]
        {
            assert!(damage(bad).is_some());
        }
        assert!(damage(&result_tar(&[("exitcode", b"x".to_vec())]).unwrap()).is_some());
    }

    #[test]
    fn testinfo_has_the_triggers_whatever_was_found() {
        let mut request = Request::plain("green".parse().unwrap());
        request.triggers = vec!["green/2".parse().unwrap(), "a/1".parse().unwrap()];
        for found in [None, json!({"custom_environment": 1}).as_object().cloned()] {
            let info = testinfo(found, &request, Uuid::nil());
            assert_eq!(info["custom_environment"], json!(["ADT_TEST_TRIGGERS=green/2 a/1"]));
        }
        let own = json!({"custom_environment": ["ADT_TEST_TRIGGERS=x/1"], "nproc": "2"});
        assert_eq!(testinfo(own.as_object().cloned(), &request, Uuid::nil())["nproc"], "2");
    }
}
