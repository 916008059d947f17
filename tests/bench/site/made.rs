//! Years of results, made up: the same for the same seed. A result is known by its age, the newest being 0, so that the newest
//! are the same however long the past behind them is.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// How many packages have tests.
const PACKAGES: u64 = 40_000;
/// How many uploads are on their way at once.
const AT_ONCE: u64 = 64;
/// So many results later these are other ones.
const ROUND: u64 = 4096;
/// A new version of everything after so many results.
const VERSION: u64 = 20_000;
/// Results come so far apart: 9,000 a day.
const STEP_MS: u64 = 9_600;
/// How many people ask for tests.
const PEOPLE: u64 = 400;
/// How many PPAs there are.
const PPAS: u64 = 300;
/// Of the newest results so many come before the upload that sets most off.
pub(crate) const BEFORE_LARGE: u64 = 500;

pub(crate) const ARCHES: [&str; 7] = ["amd64", "arm64", "armhf", "i386", "ppc64el", "riscv64", "s390x"];
/// With the share of results in percent.
pub(crate) const RELEASES: [(&str, u64); 6] =
    [("resolute", 45), ("questing", 20), ("noble", 15), ("jammy", 10), ("plucky", 5), ("focal", 5)];
/// What every test depends on.
pub(crate) const LARGE: &str = "perl/5.40.1-6";

const SYLLABLES: [&str; 35] = [
    "ba", "ce", "di", "fo", "gu", "ha", "ji", "ko", "lu", "me", "no", "pa", "qui", "re", "so", "ta", "ur",
    "ve", "wi", "xa", "ye", "zo", "an", "el", "is", "or", "un", "ster", "gra", "tex", "lin", "mon", "ker",
    "net", "vox",
];
const KINDS: [&str; 8] = ["", "", "", "lib", "python-", "node-", "rust-", "golang-"];

/// What a number is drawn for.
#[derive(Debug, Clone, Copy)]
enum Draw {
    Again = 1,
    Package,
    Release,
    Arch,
    Upload,
    Second,
    Source,
    Person,
    Ppa,
    Private,
    Failing,
    Outcome,
    Code,
    Duration,
    Proposed,
    Name,
}

/// The history of an installation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    pub(crate) seed: u64,
    /// When the newest result came.
    pub(crate) now: Timestamp,
    /// On how many packages the largest upload is tested, on each architecture.
    pub(crate) large: u64,
}

/// A result.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) container: String,
    pub(crate) release: &'static str,
    pub(crate) arch: &'static str,
    pub(crate) package: String,
    pub(crate) run_id: String,
    pub(crate) uuid: Uuid,
    pub(crate) version: String,
    pub(crate) triggers: String,
    pub(crate) env: &'static str,
    pub(crate) requester: Option<String>,
    pub(crate) exit_code: i32,
    pub(crate) seconds: i64,
    pub(crate) private: bool,
}

/// Which test of what it is: all but its outcome.
struct Inputs {
    release: &'static str,
    arch: &'static str,
    package: u64,
    triggers: String,
    ppa: Option<u64>,
    private: bool,
}

impl Made {
    /// splitmix64's last steps: as good as chance.
    fn draw(&self, what: Draw, of: u64) -> u64 {
        let mut x = self.seed ^ of.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((what as u64) << 56);
        for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9), (27, 0x94d0_49bb_1331_11eb)] {
            x = (x ^ (x >> shift)).wrapping_mul(factor);
        }
        x ^ (x >> 31)
    }

    /// One of `many`, the first most often: the n-th comes by 1/n.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "numbers far below 2^52"
    )]
    fn zipf(&self, what: Draw, of: u64, many: u64) -> u64 {
        let even = (self.draw(what, of) >> 12) as f64 / (1_u64 << 52) as f64;
        ((many as f64 + 1.0).powf(even) as u64 - 1).min(many - 1)
    }

    /// True for so many of a thousand.
    fn chance(&self, what: Draw, of: u64, of_1000: u64) -> bool {
        self.draw(what, of) % 1000 < of_1000
    }

    /// The package that is tested n-th most.
    pub(crate) fn package(&self, n: u64) -> String {
        format!("{}{}", pick(&KINDS, self.draw(Draw::Name, n)), word(n))
    }

    /// Who asks n-th most.
    pub(crate) fn person(n: u64) -> String {
        format!("{}-{}", word(n), word(PEOPLE - n))
    }

    /// Whose PPA, called `fixes`, has n-th most results.
    pub(crate) fn ppa_owner(n: u64) -> String {
        word(n)
    }

    /// An upload of those that set off the results of an age, the n-th largest.
    pub(crate) fn upload(&self, age: u64, n: u64) -> String {
        let upload = age / ROUND * AT_ONCE + n;
        let source = self.package(self.zipf(Draw::Source, upload, PACKAGES));
        format!("{source}/{}-{}", version(age / ROUND * ROUND), n + 1)
    }

    fn inputs(&self, age: u64) -> Inputs {
        let behind = age.checked_sub(BEFORE_LARGE).filter(|n| *n < self.large * 7);
        if let Some(n) = behind {
            let (release, arch) = (RELEASES[0].0, pick(&ARCHES, n));
            let triggers = LARGE.to_owned();
            return Inputs { release, arch, package: n / 7, triggers, ppa: None, private: false };
        }
        let mut percent = self.draw(Draw::Release, age) % 100;
        let release = RELEASES.iter().find(|(_, share)| {
            let is_it = percent < *share;
            percent = percent.saturating_sub(*share);
            is_it
        });
        let mut triggers = self.upload(age, self.zipf(Draw::Upload, age, AT_ONCE));
        if self.chance(Draw::Second, age, 200) {
            triggers = format!("{triggers} {}", self.upload(age, AT_ONCE - 1));
        }
        Inputs {
            release: release.unwrap_or(&RELEASES[0]).0,
            arch: pick(&ARCHES, self.draw(Draw::Arch, age)),
            package: self.zipf(Draw::Package, age, PACKAGES),
            triggers,
            ppa: self.chance(Draw::Ppa, age, 50).then(|| self.zipf(Draw::Ppa, age + 1, PPAS)),
            private: self.chance(Draw::Private, age, 5),
        }
    }

    /// The result of an age.
    pub(crate) fn result(&self, age: u64) -> Line {
        // Some are asked for again.
        let first = if self.chance(Draw::Again, age, 30) { age + 1 } else { age };
        let Inputs { release, arch, package: rank, triggers, ppa, private } = self.inputs(first);
        let container = match ppa {
            _ if private => format!("private-autopkgtest-{release}-acme-hidden"),
            Some(ppa) => format!("autopkgtest-{release}-{}-fixes", Self::ppa_owner(ppa)),
            None => format!("autopkgtest-{release}"),
        };
        let person = self.chance(Draw::Person, age, 100);
        Line {
            container,
            release,
            arch,
            package: self.package(rank),
            run_id: self.run_id(age),
            uuid: self.uuid(age),
            version: format!("{}-1", version(first)),
            triggers,
            env: if self.chance(Draw::Proposed, first, 50) { "all-proposed=1" } else { "" },
            requester: person.then(|| Self::person(self.zipf(Draw::Person, age + 1, PEOPLE))),
            exit_code: self.exit_code(age, rank),
            seconds: i64::try_from(30 * (1 + self.zipf(Draw::Duration, age, 400))).unwrap_or_default(),
            private,
        }
    }

    /// 80 pass, 15 fail, 5 are something else; one of ten packages fails most times.
    fn exit_code(&self, age: u64, package: u64) -> i32 {
        let drawn = self.draw(Draw::Outcome, age) % 1000;
        let failing = if self.chance(Draw::Failing, package, 100) { 900 } else { 70 };
        match drawn {
            n if n < failing => pick(&[4, 12, 14], self.draw(Draw::Code, age)),
            960..970 => 16,
            970..977 => 20,
            977..995 => 8,
            995..997 => 99,
            997 => -9,
            _ => pick(&[0, 2], self.draw(Draw::Code, age)),
        }
    }

    fn uuid(&self, age: u64) -> Uuid {
        let bits = (u128::from(self.draw(Draw::Name, age)) << 64) | u128::from(self.draw(Draw::Code, age));
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// No two have the same.
    fn run_id(&self, age: u64) -> String {
        let ago = SignedDuration::from_millis(i64::try_from((age + 1) * STEP_MS).unwrap_or(i64::MAX));
        let at = self.now.checked_sub(ago).unwrap_or(Timestamp::UNIX_EPOCH);
        format!("{}_{:05x}@", at.strftime("%Y%m%d_%H%M%S"), self.draw(Draw::Name, age) & 0xf_ffff)
    }
}

/// What is tested, and what sets tests off: a greater one the newer it is.
fn version(age: u64) -> String {
    format!("1.{}", 100_000 - age / VERSION)
}

/// One of these.
fn pick<T: Copy>(list: &[T], drawn: u64) -> T {
    list[usize::try_from(drawn % list.len() as u64).unwrap_or_default()]
}

/// A name of its own for each number: none of the syllables begins with another.
fn word(mut n: u64) -> String {
    let mut word = String::new();
    loop {
        word += pick(&SYLLABLES, n);
        n /= 35;
        if n == 0 {
            return word;
        }
        n -= 1;
    }
}
