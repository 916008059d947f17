//! What operators hold back: pauses and caps.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::{EMERGENCY, Lane};
use crate::names::BadName;

/// Jobs that are not offered for now. An empty field means any.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct Pause {
    /// Its number, by which it is ended.
    pub id: i64,
    /// Of this release.
    pub release: Option<String>,
    /// Of this architecture.
    pub arch: Option<String>,
    /// Of this context.
    pub context: Option<String>,
    /// Who did it.
    pub person: String,
    /// Why.
    pub reason: String,
    /// Microseconds since 1970.
    pub since_us: i64,
}

impl Pause {
    /// True for lanes that it holds back; an emergency is never held back.
    pub fn holds(&self, lane: &Lane) -> bool {
        let is = |asked: &Option<String>, one: &str| asked.as_deref().is_none_or(|asked| asked == one);
        lane.level < EMERGENCY
            && is(&self.release, lane.pair.release.as_str())
            && is(&self.arch, lane.pair.arch.as_str())
            && is(&self.context, lane.context.as_str())
    }

    /// What is paused, for people: `all of arm64`, `ppa of noble/amd64`, `everything`.
    pub fn in_words(&self) -> String {
        let place = match (&self.release, &self.arch) {
            (Some(release), Some(arch)) => Some(format!("{release}/{arch}")),
            (one, other) => one.as_ref().or(other.as_ref()).cloned(),
        };
        match (&self.context, place) {
            (Some(context), Some(place)) => format!("{context} of {place}"),
            (Some(all), None) => format!("all of {all}"),
            (None, Some(all)) => format!("all of {all}"),
            (None, None) => "everything".to_owned(),
        }
    }
}

impl fmt::Display for Pause {
    /// What is paused: `noble/amd64 ppa`, `*` for any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
        write!(f, "{}/{} {}", part(&self.release), part(&self.arch), part(&self.context))
    }
}

/// What a cap counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CapKind {
    /// The package that is tested.
    Package,
    /// The first trigger.
    Trigger,
    /// Who asked first.
    Requester,
    /// The pool that it runs in.
    Pool,
}

impl CapKind {
    /// All.
    pub const ALL: [Self; 4] = [Self::Package, Self::Trigger, Self::Requester, Self::Pool];

    /// The word in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::Trigger => "trigger",
            Self::Requester => "requester",
            Self::Pool => "pool",
        }
    }
}

impl fmt::Display for CapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CapKind {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| BadName::new("cap", text, "package, trigger, requester or pool"))
    }
}

/// How many jobs run at once at most.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub struct Cap {
    /// What is counted: see [`CapKind`].
    pub kind: String,
    /// Of which one; `*`: of each that has no cap of its own.
    pub name: String,
    /// So many.
    pub most: i64,
    /// Who set it.
    pub person: String,
    /// Microseconds since 1970.
    pub since_us: i64,
}

/// All that is held back now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Controls {
    /// The pauses.
    pub pauses: Vec<Pause>,
    /// The caps, by kind and name.
    pub caps: Vec<Cap>,
}

impl Controls {
    /// The pause that holds a lane back.
    pub fn pause_of(&self, lane: &Lane) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.holds(lane))
    }

    /// How many of this may run at once; none: any number.
    pub fn most(&self, kind: CapKind, name: &str) -> Option<usize> {
        if name.is_empty() {
            return None;
        }
        let of = |wanted: &str| {
            let place = |cap: &Cap| (cap.kind.as_str(), cap.name.as_str()).cmp(&(kind.as_str(), wanted));
            self.caps.binary_search_by(place).ok().and_then(|at| self.caps.get(at))
        };
        of(name).or_else(|| of("*")).map(|cap| usize::try_from(cap.most).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(release: Option<&str>, arch: Option<&str>, context: Option<&str>) -> Pause {
        let own = |part: Option<&str>| part.map(str::to_owned);
        Pause {
            id: 1,
            release: own(release),
            arch: own(arch),
            context: own(context),
            person: "ann".to_owned(),
            reason: "moving".to_owned(),
            since_us: 0,
        }
    }

    #[test]
    fn pauses_hold_what_they_name_but_no_emergency() {
        let lane = |text: &str| text.parse::<Lane>().unwrap();
        let (plain, ppa) = (lane("0 gates ubuntu noble/amd64 - a/1"), lane("0 gates ppa noble/amd64 - a/1"));
        assert!(pause(None, None, None).holds(&plain) && pause(Some("noble"), None, None).holds(&ppa));
        assert!(
            !pause(None, None, Some("ppa")).holds(&plain) && !pause(None, Some("arm64"), None).holds(&ppa)
        );
        assert!(!pause(None, None, None).holds(&lane("1000 gates ubuntu noble/amd64 - a/1")));
        let partly = pause(Some("noble"), None, Some("ppa"));
        assert_eq!((partly.to_string(), partly.in_words()), ("noble/* ppa".into(), "ppa of noble".into()));
        assert_eq!(pause(Some("noble"), Some("arm64"), None).in_words(), "all of noble/arm64");
        assert_eq!(pause(None, Some("arm64"), None).in_words(), "all of arm64");
        assert_eq!(pause(None, None, Some("ppa")).in_words(), "all of ppa");
        assert_eq!(pause(None, None, None).in_words(), "everything");
    }

    #[test]
    fn a_cap_of_its_own_goes_before_that_of_each() {
        let cap = |name: &str, most| Cap {
            kind: "trigger".to_owned(),
            name: name.to_owned(),
            most,
            person: String::new(),
            since_us: 0,
        };
        let controls = Controls { pauses: vec![], caps: vec![cap("*", 5), cap("perl/1", 9)] };
        let most = |name: &str| controls.most(CapKind::Trigger, name);
        assert_eq!((most("perl/1"), most("a/1"), most("")), (Some(9), Some(5), None));
        assert_eq!(controls.most(CapKind::Package, "a"), None);
    }
}
