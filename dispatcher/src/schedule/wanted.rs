//! Workers that are to drain or to retire, or to work again.

use std::collections::BTreeMap;

use proofhouse_core::{
    names::WorkerName,
    protocol::{Answer, AttemptId, Wanted, WorkerId},
};
use uuid::Uuid;

use super::{Action, State};

/// One that is drained and asks all the same has not heard of it yet, or is too old to.
const PAUSE_SECONDS: u64 = 5;

impl State {
    /// Takes over what operators want, and tells those that do otherwise.
    pub(super) fn want(&mut self, wanted: BTreeMap<WorkerName, (Option<Uuid>, Wanted)>) -> Vec<Action> {
        self.wanted = wanted;
        let workers: Vec<WorkerId> = self.workers.keys().cloned().collect();
        workers.iter().filter_map(|worker| self.tell(worker)).collect()
    }

    /// What is wanted of this life of a worker. It drains for as long as nobody says otherwise, but only one life retires.
    pub(super) fn wanted_of(&self, worker: &WorkerId) -> Wanted {
        match self.wanted.get(&worker.name) {
            Some((life, Wanted::Retire)) if *life != Some(worker.incarnation) => Wanted::Work,
            Some((_, wanted)) => *wanted,
            None => Wanted::Work,
        }
    }

    /// Tells a worker what is wanted, once for each of its announcements: an older one does not understand it.
    pub(super) fn tell(&mut self, worker: &WorkerId) -> Option<Action> {
        let wanted = self.wanted_of(worker);
        let view = self.workers.get_mut(worker)?;
        if wanted != Wanted::Work {
            view.slots = 0;
        }
        if view.obeys == wanted || view.told == Some(wanted) {
            return None;
        }
        view.told = Some(wanted);
        Some(Self::reply(worker, Answer::Wanted { state: wanted }))
    }

    /// The offer goes to others.
    pub(super) fn refuse_drained(&mut self, worker: &WorkerId, id: AttemptId) -> Vec<Action> {
        self.withdraw(id);
        vec![Self::reply(worker, Answer::Refused { id, pause_seconds: PAUSE_SECONDS })]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::{
        super::{
            Event,
            tests::{announcement, candidate, id, pool, reads, rules, work, worker},
        },
        *,
    };
    use proofhouse_core::protocol::{Announce, Ask};

    fn wanted(life: u128, wanted: Wanted) -> Event {
        Event::Wanted([(worker(1).name, (Some(Uuid::from_u128(life)), wanted))].into())
    }

    fn told(actions: &[Action]) -> Vec<Wanted> {
        let one = |action: &Action| match action {
            Action::Answer(_, Answer::Wanted { state }) => Some(*state),
            _ => None,
        };
        actions.iter().filter_map(one).collect()
    }

    fn says(state: &mut State, said: Announce, now: Instant) -> Vec<Action> {
        state.decide(Event::Asked(worker(1), Ask::Announce(said)), now)
    }

    fn new(now: Instant) -> State {
        State::inherit(1, rules(), Arc::default(), vec![], vec![], vec![], now)
    }

    #[test]
    fn a_drained_worker_is_told_gets_nothing_and_works_again_when_it_may() {
        let now = Instant::now();
        let mut state = new(now);
        says(&mut state, announcement(2), now);
        work(&mut state, &[candidate(1, 0)], now);
        assert_eq!(told(&state.decide(wanted(1, Wanted::Drain), now)), [Wanted::Drain]);
        assert_eq!(told(&state.decide(wanted(1, Wanted::Drain), now)), [], "once");
        // It asked before it heard: the offer is for others.
        let asked = state.decide(Event::Asked(worker(1), Ask::Grant { id: id(1, 1), epoch: 1 }), now);
        assert_eq!(
            asked,
            [Action::Answer(worker(1), Answer::Refused { id: id(1, 1), pause_seconds: PAUSE_SECONDS })]
        );
        // One that does not understand is told again with its next announcement, and is offered nothing.
        let again = says(&mut state, announcement(2), now);
        assert_eq!(told(&again), [Wanted::Drain]);
        assert_eq!(work(&mut state, &[candidate(2, 0)], now), []);
        let obeys = Announce { wanted: Wanted::Drain, slots: 0, ..announcement(2) };
        assert_eq!(told(&says(&mut state, obeys, now)), []);
        assert_eq!(told(&state.decide(Event::Wanted(BTreeMap::new()), now)), [Wanted::Work]);
        let works = says(&mut state, announcement(2), now);
        let works = reads(&mut state, works, &[candidate(2, 0)], now);
        assert!(works.contains(&Action::Offer(pool(), id(2, 1))), "{works:?}");
    }

    #[test]
    fn a_drain_outlives_the_process_and_a_retirement_does_not() {
        let now = Instant::now();
        for (wish, expected) in [(Wanted::Drain, vec![Wanted::Drain]), (Wanted::Retire, vec![])] {
            let mut state = new(now);
            state.decide(wanted(99, wish), now);
            let first = says(&mut state, announcement(2), now);
            assert_eq!(told(&first), expected);
            let offered = !work(&mut state, &[candidate(1, 0)], now).is_empty();
            assert_eq!(offered, wish == Wanted::Retire);
        }
    }

    #[test]
    fn one_that_leaves_is_offered_nothing_more() {
        let now = Instant::now();
        let mut state = new(now);
        says(&mut state, announcement(2), now);
        let leaving = Announce { leaving: true, draining: true, slots: 0, ..announcement(2) };
        assert_eq!(says(&mut state, leaving.clone(), now), [Action::SaveWorker(worker(1), leaving)]);
        assert_eq!(state.decide(Event::Tick, now), []);
    }
}
