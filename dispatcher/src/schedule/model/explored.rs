//! The explorations. docs/explanation/model.md says what they show; the figures there are those that they print.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::{Faults, Left, Plant, World, steps::Step, table::JobState};

const PROMISES: &str = "each promise is kept";
const ENDS: &str = "every job ends once faults end";
const DONE: &str = "all jobs are done";

/// How many ways at random, and how long.
const WALKS: u64 = 500;
const STEPS: usize = 400;

/// What of states two ways of exploring are compared by: see [`World::outline`].
type Outlines = BTreeSet<Vec<u8>>;

/// All that can happen within bounds.
struct Life {
    plant: Plant,
    jobs: i64,
    faults: Left,
    /// One of so many states is followed to its end without further faults.
    followed: u64,
    met: Mutex<Outlines>,
}

const fn faults(crashes: u8, expiries: u8) -> Left {
    Left::Counted(Faults { crashes, expiries })
}

impl Life {
    const fn new(jobs: i64, faults: Left) -> Self {
        Self { plant: Plant::Nothing, jobs, faults, followed: 1, met: Mutex::new(BTreeSet::new()) }
    }

    fn world(&self) -> World {
        World::new(self.plant, self.jobs, self.faults)
    }

    fn meet(&self, world: &World) {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).insert(world.outline());
    }

    /// Whether this state is one of those that are followed: the same ones in each run.
    fn is_followed(&self, world: &World) -> bool {
        if self.followed == 1 {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        hasher.finish().is_multiple_of(self.followed)
    }
}

/// No result that is recorded is swept.
fn sweeps_nothing_recorded(world: &World) -> bool {
    world.table.results.values().all(|(run, _)| !world.table.sweeps.contains(run))
}

fn is_done_once_shown(world: &World) -> bool {
    let shown = |job: i64| world.shown.iter().any(|(shown, _)| *shown == job);
    world.table.jobs.iter().all(|(job, (state, _))| *state != JobState::Done || shown(*job))
}

fn ends_without_faults(world: &World) -> bool {
    [false, true].into_iter().all(|lost| world.rounds_to_end(lost).is_some())
}

impl Model for Life {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![self.world()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        self.meet(world);
        if world.broken.is_none() {
            steps.extend(world.steps());
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        world.step(&step).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(PROMISES, |_, world: &World| world.broken.is_none()),
            Property::always("no job is lost", |_, world: &World| world.table.keeps_jobs()),
            Property::always("no result is swept", |_, world: &World| sweeps_nothing_recorded(world)),
            Property::always("what is done is in the store", |_, world: &World| is_done_once_shown(world)),
            Property::always(ENDS, |life: &Self, world: &World| {
                world.broken.is_some() || !life.is_followed(world) || ends_without_faults(world)
            }),
            Property::sometimes(DONE, |_, world: &World| world.table.all_done()),
        ]
    }
}

/// Explores everything.
fn explore(life: Life) -> Outlines {
    let what = format!("{} jobs, {:?}", life.jobs, life.faults);
    let followed = life.followed;
    let began = Instant::now();
    let checker = life.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{what}: {} states, {} steps between them, at most {} deep, 1 of {followed} followed to its end; {:.1?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed(),
    );
    checker.assert_properties();
    let met = checker.model().met.lock().unwrap_or_else(PoisonError::into_inner);
    met.clone()
}

/// Looks for a planted error; returns what is broken.
fn find(plant: Plant, jobs: i64, faults: Left) -> &'static str {
    let began = Instant::now();
    let life = Life { plant, followed: u64::MAX, ..Life::new(jobs, faults) };
    let broken = HasDiscoveries::AnyOf([PROMISES].into());
    // By one thread, so that the way that it finds is the shortest.
    let checker = life.checker().finish_when(broken).spawn_bfs().join();
    let path = checker.discovery(PROMISES).expect("it is found");
    let broken = path.last_state().broken.expect("a promise is broken");
    let steps = path.into_actions();
    println!(
        "{plant:?}, {jobs} jobs, {faults:?}: {broken}, after {} steps, among {} states; {:.1?}",
        steps.len(),
        checker.unique_state_count(),
        began.elapsed()
    );
    for step in steps {
        println!("    {step:?}");
    }
    broken
}

/// Ways at random, each as far as it goes; what comes of them is among what was `met` otherwise.
fn wander(faults: Left, met: &Outlines) {
    let began = Instant::now();
    let life = Life::new(2, faults);
    let steps: usize = (0..WALKS).map(|seed| walk(&life, seed, met)).sum();
    let seen = life.met.lock().unwrap_or_else(PoisonError::into_inner).len();
    let of = met.len();
    let took = began.elapsed();
    println!("{faults:?}: {WALKS} walks, {steps} steps, {seen} of {of} contents of the table; {took:.1?}");
}

fn walk(life: &Life, seed: u64, met: &Outlines) -> usize {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = life.world();
    for taken in 0..STEPS {
        let mut steps = world.steps();
        let next = loop {
            if steps.is_empty() {
                return taken;
            }
            let step = steps.swap_remove(random.random_range(0..steps.len()));
            if let Some(next) = life.next_state(&world, step) {
                break next;
            }
        };
        world = next;
        for property in life.properties().iter().filter(|property| property.name != DONE) {
            let is_due = property.name != ENDS || random.random_ratio(1, 50);
            let holds = !is_due || (property.condition)(life, &world);
            assert!(holds, "{}: seed {seed}: {world:?}", property.name);
        }
        assert!(met.contains(&world.outline()), "not met: seed {seed}: {world:?}");
        life.meet(&world);
    }
    STEPS
}

/// Each step alone.
#[test]
fn without_faults_but_those_of_the_network() {
    explore(Life::new(2, faults(0, 0)));
}

/// What each step alone can lead to is among what is explored where steps without a choice are none.
#[test]
fn one_job_and_a_fault_of_each_kind() {
    let at_once = explore(Life::new(1, Left::Any));
    for faults in [faults(1, 0), faults(0, 1)] {
        let alone = explore(Life { followed: 64, ..Life::new(1, faults) });
        assert!(alone.is_subset(&at_once));
    }
}

/// Crashes, expiries, losses, doublings, delays.
#[test]
fn any_number_of_faults() {
    let met = explore(Life { followed: 8, ..Life::new(2, Left::Any) });
    for faults in [faults(2, 2), faults(4, 4)] {
        wander(faults, &met);
    }
}

#[test]
fn any_number_of_faults_and_lost_answers_of_the_table() {
    explore(Life { followed: 4, ..Life::new(1, Left::AnyUnsure) });
}

#[test]
fn without_fencing_a_second_attempt_starts_beside_the_first() {
    let broken = find(Plant::NoFencing, 2, Left::Any);
    assert_eq!(broken, "a second attempt started beside the first, whose lease lasts");
}

#[test]
fn an_answer_before_the_commit_starts_what_nobody_granted() {
    assert_eq!(find(Plant::AnswerFirst, 2, faults(1, 0)), "an attempt started that nobody granted");
}

#[test]
fn a_lease_that_is_not_waited_for_is_seen() {
    let broken = find(Plant::NoLease, 2, faults(0, 0));
    assert_eq!(broken, "a second attempt started before the first one's lease had ended");
}
