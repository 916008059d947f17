//! Three days of requests for one architecture, the same for each seed.

use rand::{Rng, SeedableRng, rngs::StdRng};

pub(crate) const HOUR: f64 = 3600.0;
pub(crate) const DAYS: f64 = 3.0;
/// When perl is uploaded, and how many tests that brings.
pub(crate) const PERL_AT: f64 = 12.0 * HOUR;
const PERL_TESTS: usize = 25_000;
const PERL: &str = "perl/5.40.1-1";
/// The longest test.
const LONGEST: f64 = 4.0 * HOUR;

/// An architecture.
pub(crate) struct Arch {
    pub(crate) name: &'static str,
    pub(crate) slots: usize,
    /// Seconds that a test takes on average.
    duration: f64,
    /// Uploads an hour that bring tests here.
    triggers: f64,
}

pub(crate) const ARCHES: [Arch; 3] = [
    Arch { name: "amd64", slots: 250, duration: 600.0, triggers: 48.0 },
    Arch { name: "arm64", slots: 200, duration: 600.0, triggers: 48.0 },
    Arch { name: "riscv64", slots: 120, duration: 1500.0, triggers: 14.0 },
];

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    People,
    Gates,
    Perl,
}

impl Who {
    pub(crate) const ALL: [Self; 3] = [Self::People, Self::Gates, Self::Perl];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Gates => "gates",
            Self::Perl => "perl",
        }
    }
}

/// How a scenario goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By the rules, perl's tests on the huge queue.
    Huge,
    /// By the rules, perl's tests among all others.
    Plain,
    /// First in, first out.
    Fifo,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Huge, Self::Plain, Self::Fifo];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Huge => "shares, perl as huge",
            Self::Plain => "shares, perl as plain",
            Self::Fifo => "first in, first out",
        }
    }
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) at: f64,
    pub(crate) who: Who,
    /// The trigger, or the person.
    pub(crate) key: String,
    /// Seconds that its test will take.
    pub(crate) takes: f64,
}

impl Arrival {
    pub(crate) fn lane(&self, mode: Mode, arch: &str) -> String {
        let Self { who, key, .. } = self;
        match (mode, who) {
            (Mode::Fifo, _) => format!("0 gates ubuntu noble/{arch} - all"),
            (_, Who::People) => format!("0 people ubuntu noble/{arch} - {key}"),
            (Mode::Huge, Who::Perl) => format!("0 bulk huge noble/{arch} - {key}"),
            _ => format!("0 gates ubuntu noble/{arch} - {key}"),
        }
    }
}

struct Generator {
    random: StdRng,
    duration: f64,
    all: Vec<Arrival>,
}

impl Generator {
    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.random.random::<f64>()).ln()
    }

    /// Log-normal, with a standard deviation of about 1.3 of the mean.
    fn duration(&mut self) -> f64 {
        let (a, b): (f64, f64) = (1.0 - self.random.random::<f64>(), self.random.random());
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        (self.duration * normal.mul_add(1.0, -0.5).exp()).clamp(20.0, LONGEST)
    }

    fn add(&mut self, at: f64, who: Who, key: &str, n: usize) {
        for _ in 0..n {
            let takes = self.duration();
            self.all.push(Arrival { at, who, key: key.to_owned(), takes });
        }
    }

    /// Calls at the times of a process with so many events an hour at its height, fewer by night.
    fn by_day(&mut self, per_hour: f64, mut each: impl FnMut(&mut Self, f64, usize)) {
        let (mut at, mut n) = (0.0, 0);
        loop {
            at += self.exponential(HOUR / per_hour);
            if at > DAYS * 24.0 * HOUR {
                return;
            }
            let height = 0.7 - 0.3 * (std::f64::consts::TAU * at / (24.0 * HOUR)).cos();
            if self.random.random::<f64>() < height {
                n += 1;
                each(self, at, n);
            }
        }
    }

    /// Most uploads bring a few tests, a few bring very many.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 2 to 1500")]
    fn heavy(&mut self) -> usize {
        (2.0 * (1.0 - self.random.random::<f64>()).powf(-0.9)).min(1500.0) as usize
    }
}

/// All that comes, in its order.
pub(crate) fn arrivals(arch: &Arch, seed: u64) -> Vec<Arrival> {
    let random = StdRng::seed_from_u64(seed);
    let mut generator = Generator { random, duration: arch.duration, all: Vec::new() };
    generator.by_day(arch.triggers, |generator, at, n| {
        let tests = generator.heavy();
        generator.add(at, Who::Gates, &format!("trigger-{n}/1"), tests);
    });
    generator.by_day(10.0, |generator, at, _| {
        let person = format!("person-{}", generator.random.random_range(0..15));
        let tests = if generator.random.random_bool(0.1) { 30 } else { 2 };
        generator.add(at, Who::People, &person, tests);
    });
    generator.add(PERL_AT, Who::Perl, PERL, PERL_TESTS);
    let mut all = generator.all;
    all.sort_by(|a, b| a.at.total_cmp(&b.at));
    all
}
