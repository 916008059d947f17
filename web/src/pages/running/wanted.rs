//! Which part of what runs an address asks for.

use std::{cmp::Reverse, collections::HashMap};

use jiff::Timestamp;
use utoipa::IntoParams;

use crate::{
    failure::Failure,
    live::{Live, Now},
    pages::filter::{Wildcard, address, text},
};

/// What an address asks for: the same for the page and for `/api/v1/running`.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only packages of this name; `*` and `?` are wildcards.
    #[param(value_type = String, required = false)]
    pub(crate) package: Wildcard,
    /// Only this release.
    #[param(required = false)]
    pub(crate) release: String,
    /// Only this architecture.
    #[param(required = false)]
    pub(crate) arch: String,
    /// Only this kind of queue: ubuntu, huge, ppa or upstream.
    #[param(required = false)]
    pub(crate) context: String,
    /// Only what is run for this upload, `source/version`.
    #[param(required = false)]
    pub(crate) trigger: String,
    /// `longest`: those that run longest first; otherwise by package.
    #[param(required = false)]
    pub(crate) sort: String,
    /// Only runs behind this place, as `next` has it.
    #[param(value_type = Option<String>)]
    pub(crate) after: Option<Place>,
    /// When the run at that place began, in seconds since 1970, as `next` has it: it may have ended.
    pub(crate) began: Option<i64>,
}

/// The order by which what runs longest comes first.
const LONGEST: &str = "longest";

/// A place in the list: package, release, arch, uuid.
pub(crate) type Place = [String; 4];

/// A part of what runs.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) runs: Vec<&'a Live>,
    /// Those behind.
    pub(crate) rest: Vec<&'a Live>,
    /// How many fit.
    pub(crate) fitting: usize,
    /// Release, arch, and how many private runs there are.
    pub(crate) private: Vec<(String, String, usize)>,
}

fn place(live: &Live) -> Place {
    let uuid = live.uuid.clone().unwrap_or_default();
    [live.package.clone(), live.release.clone(), live.arch.clone(), uuid]
}

/// When it began, in seconds since 1970.
fn began(live: &Live) -> i64 {
    Timestamp::now().as_second() - live.duration
}

fn read_place(text: &str) -> Option<Place> {
    let parts: Vec<&str> = text.rsplitn(4, '/').collect();
    let [uuid, arch, release, package] = parts[..] else { return None };
    Some([package, release, arch, uuid].map(str::to_owned))
}

impl Wanted {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let after = text(query, "after")?;
        let after = match after.as_str() {
            "" => None,
            place => Some(read_place(place).ok_or_else(|| {
                Failure::bad("after is no place in the list.", "Follow the links of the list.")
            })?),
        };
        let sort = text(query, "sort")?;
        if !matches!(sort.as_str(), "" | LONGEST) {
            return Err(Failure::bad("This order is not known.", "sort may be longest."));
        }
        let began = text(query, "began")?;
        let bad = |_| Failure::bad("began must be a number.", "Follow the links of the list.");
        Ok(Self {
            began: (!began.is_empty()).then(|| began.parse().map_err(bad)).transpose()?,
            sort,
            package: Wildcard::read(query, "package")?,
            release: text(query, "release")?,
            arch: text(query, "arch")?,
            context: text(query, "context")?,
            trigger: text(query, "trigger")?,
            after,
        })
    }

    pub(crate) fn is_filter(&self) -> bool {
        let texts = [&self.release, &self.arch, &self.context, &self.trigger];
        !self.package.is_empty() || texts.iter().any(|text| !text.is_empty())
    }

    /// The address of the same list behind a place; none: of its begin.
    pub(crate) fn at(&self, base: &str, after: Option<&Live>) -> String {
        let last = after.filter(|_| self.is_longest_first()).map(|live| began(live).to_string());
        let after = after.map(|live| place(live).join("/")).unwrap_or_default();
        let parameters = [
            ("package", self.package.as_str()),
            ("release", self.release.as_str()),
            ("arch", &self.arch),
            ("context", &self.context),
            ("trigger", &self.trigger),
            ("sort", &self.sort),
            ("after", &after),
            ("began", last.as_deref().unwrap_or_default()),
        ];
        address(base, &parameters)
    }

    fn fits(&self, live: &Live) -> bool {
        is(&self.release, &live.release)
            && is(&self.arch, &live.arch)
            && is(&self.context, &live.context)
            && (self.trigger.is_empty() || live.triggers().any(|trigger| trigger == self.trigger))
            && self.package.fits(&live.package)
    }

    pub(crate) fn is_longest_first(&self) -> bool {
        self.sort == LONGEST
    }

    /// Where the part that is asked for begins.
    fn begin(&self, all: &[&Live]) -> Result<usize, Failure> {
        let Some(after) = &self.after else { return Ok(0) };
        if !self.is_longest_first() {
            return Ok(all.partition_point(|live| place(live) <= *after));
        }
        let last = all.iter().rposition(|live| place(live) == *after);
        // It has ended: those that began later come. When each began is known to a minute: what is kept of them may be as old.
        let behind = |time| all.partition_point(|live| began(live) < time - 60);
        last.map(|last| last + 1).or_else(|| self.began.map(behind)).ok_or_else(|| {
            Failure::bad(
                "The run behind which this part begins has ended.",
                "Begin with the first part again.",
            )
        })
    }

    /// The part of what runs that is asked for, at most `limit` long, or as much longer as runs have the same place.
    pub(crate) fn part<'a>(&self, now: &'a Now, limit: usize) -> Result<Part<'a>, Failure> {
        let mut all: Vec<&Live> = now.runs.iter().filter(|live| self.fits(live)).collect();
        if self.is_longest_first() {
            // Those of the same place stay together.
            let mut longest: HashMap<Place, i64> = HashMap::new();
            for live in &all {
                let most = longest.entry(place(live)).or_default();
                *most = live.duration.max(*most);
            }
            all.sort_by_cached_key(|live| (Reverse(longest[&place(live)]), place(live)));
        }
        let begin = self.begin(&all)?;
        let mut end = all.len().min(begin + limit);
        while end > begin && end < all.len() && place(all[end]) == place(all[end - 1]) {
            end += 1;
        }
        // Of what a private run is for nothing may be said.
        let is_known = self.package.is_empty() && self.context.is_empty() && self.trigger.is_empty();
        let private = now.private.iter().filter(|((release, arch), _)| {
            is_known && self.after.is_none() && is(&self.release, release) && is(&self.arch, arch)
        });
        Ok(Part {
            runs: all[begin..end].to_vec(),
            rest: all[end..].to_vec(),
            fitting: all.len(),
            private: private.map(|((release, arch), n)| (release.clone(), arch.clone(), *n)).collect(),
        })
    }
}

fn is(wanted: &str, one: &str) -> bool {
    wanted.is_empty() || wanted == one
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Instant};

    use super::*;
    use crate::running::Heard;

    fn now(packages: &[&str]) -> Now {
        let (heard, at) = (Heard::default(), Instant::now());
        for package in packages {
            let status = serde_json::json!({"release": "noble", "architecture": "amd64", "package": package,
                "running": true, "params": {"triggers": [format!("{package}/1"), "perl/5"]}, "duration": 5, "logtail": ""});
            heard.hear(serde_json::from_value(status).unwrap(), at);
        }
        let mut runs: Vec<Live> =
            heard.now(at).0.into_iter().map(|said| Live::of_message(said, at)).collect();
        runs.sort_by_key(place);
        let private = BTreeMap::from([(("noble".to_owned(), "amd64".to_owned()), 2)]);
        Now { runs, private, ..Now::default() }
    }

    #[test]
    fn what_runs_longest_comes_first() {
        let mut now = now(&["blue", "green", "red", "white"]);
        for (live, seconds) in now.runs.iter_mut().zip([5, 60, 5, 600]) {
            live.duration = seconds;
        }
        let mut names = Vec::new();
        let mut wanted = Wanted::parse(Some("sort=longest")).unwrap();
        loop {
            let part = wanted.part(&now, 1).unwrap();
            names.extend(part.runs.iter().map(|live| live.package.clone()));
            let Some(last) = part.runs.last().filter(|_| !part.rest.is_empty()) else { break };
            let next = wanted.at("", Some(last));
            wanted = Wanted::parse(next.strip_prefix('?')).unwrap();
        }
        assert_eq!(names, ["white", "green", "blue", "red"]);
        now.runs.retain(|live| live.package != "blue");
        let names: Vec<_> = wanted.part(&now, 9).unwrap().runs.iter().map(|live| &live.package).collect();
        assert_eq!(names, ["green", "red"], "what began a minute before one that has ended, or later");
        let wanted = Wanted { began: None, ..wanted };
        assert!(wanted.part(&now, 1).is_err(), "the run before it has ended");
    }

    #[test]
    fn filters_and_parts() {
        let now = now(&["libb", "liba", "green", "blue"]);
        let names = |query: &str| -> Vec<String> {
            let part = Wanted::parse(Some(query)).unwrap().part(&now, 10).unwrap();
            part.runs.iter().map(|live| live.package.clone()).collect()
        };
        assert_eq!(names("package=lib*"), ["liba", "libb"]);
        assert_eq!(names("trigger=green/1&arch=amd64&context=ubuntu"), ["green"]);
        assert_eq!(names("trigger=perl/5").len(), 4);
        assert!(names("release=jammy").is_empty());
        let wanted = Wanted::parse(Some("trigger=perl/5")).unwrap();
        let part = wanted.part(&now, 3).unwrap();
        assert_eq!((part.runs.len(), part.rest.len(), part.fitting, part.private.len()), (3, 1, 4, 0));
        let next = wanted.at("", part.runs.last().copied());
        assert_eq!(names(next.strip_prefix('?').unwrap()), ["libb"]);
        assert_eq!(Wanted::default().part(&now, 3).unwrap().private.len(), 1);
        for bad in ["after=x", "sort=x", "package=%5B", "trigger=%00"] {
            assert!(Wanted::parse(Some(bad)).is_err(), "{bad}");
        }
    }
}
