//! What a tier does in the order in which a [`model`](super::model) has gone through it.

use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::explore::{Explored, explore};
use super::model::{Action, Budget, Flight, Mutant, Run, Sent, State, Void};
use super::{Acquired, Claim, Fleet, Lease, Named, News, PATIENCE, Record, Signal, Tier, TierKey, key, record, tags};

/// Replays some hundreds of traces of a model of the protocol: two processes that claim, fill, release, crash, lose their
/// leases, watch, invalidate and put, one step after the other, in all the orders that differ for a tier. After each step
/// it has to have answered as the model has, and to have the value that the model has. `make` is as for
/// [`check`](super::check), and called once.
///
/// The model itself is checked exhaustively, by this crate's tests: in no state that can be reached is a value stored that
/// was known before an invalidation, and nobody waits for ever.
///
/// # Panics
///
/// If the tier does something else than the model; the trace goes to standard error.
pub async fn replay<T: Tier>(make: impl AsyncFn() -> (T, T)) {
    let fleet = Fleet::attached(make().await).await;
    for (number, trace) in traces().into_iter().enumerate() {
        let named = Named(format!("trace {number}: {:?}", trace.1));
        Replay::new(&fleet, number).follow(trace.0, &trace.1).await;
        drop(named);
    }
}

/// From where, and by which actions.
type Trace = (State, Vec<Action>);

fn traces() -> Vec<Trace> {
    let none = Budget { voids: 0, losses: 0, forces: 0, crashes: 0, unlinks: 0, ages: false };
    let budgets = [
        Budget { voids: 1, losses: 1, ..none },
        Budget { losses: 1, forces: 1, crashes: 1, ..none },
        Budget { forces: 2, ..none },
    ];
    budgets
        .into_iter()
        .flat_map(|budget| {
            let begin = State::new(2, budget);
            let explored = match explore(begin.clone(), Mutant::None, false) {
                Ok(explored) => explored,
                Err((fault, way)) => panic!("the model is wrong: {fault}, after {way:?}"),
            };
            cover(&explored).into_iter().map(move |way| (begin.clone(), way))
        })
        .collect()
}

/// What a step is for a tier, whichever process takes it.
#[derive(PartialEq, Eq, Hash)]
struct Situation {
    what: Discriminant<Action>,
    /// Who asks may have waited.
    from: Option<Discriminant<Flight>>,
    sent: Option<Sent>,
    void: Option<Void>,
    has_value: bool,
    lease_is_void: Option<bool>,
    /// Of the other process: whether it waits, and whether what it has sent comes with the lease that stands.
    other: (bool, Option<bool>),
}

fn situation(state: &State, action: Action) -> Option<Situation> {
    let (p, from, sent, void) = match action {
        Action::Ask(p) | Action::Force(p) => (p, Some(discriminant(&state.processes[p].flight)), None, None),
        Action::Watch(p) => (p, None, None, None),
        Action::Deliver(p) => (p, None, state.processes[p].sent, None),
        Action::Reach(p) => (p, None, None, state.processes[p].void.map(|void| void.what)),
        Action::Lapse => (0, None, None, None),
        _ => return None,
    };
    let sent = sent.map(|sent| match sent {
        Sent::Fill { holds, .. } => Sent::Fill { made: 0, holds },
        Sent::Release { .. } => sent,
    });
    let other = &state.processes[1 - p];
    let waits = matches!(other.flight, Flight::Watching { .. } | Flight::Following { .. });
    let holds = other.sent.map(|(Sent::Fill { holds, .. } | Sent::Release { holds })| holds);
    Some(Situation {
        what: discriminant(&action),
        from,
        sent,
        void,
        has_value: state.value.is_some(),
        lease_is_void: state.lease.map(|lease| lease.is_void),
        other: (waits, holds),
    })
}

/// Ways in which every situation occurs.
fn cover(explored: &Explored) -> Vec<Vec<Action>> {
    let mut covered = HashSet::new();
    let mut ways = Vec::new();
    // The longest first, which have the others in them.
    for &(from, action, _) in explored.steps.iter().rev() {
        match situation(&explored.states[from as usize], action) {
            Some(situation) if !covered.contains(&situation) => {}
            _ => continue,
        }
        let mut way = explored.way(from as usize);
        way.push(action);
        let mut state = explored.states[0].clone();
        for &action in &way {
            covered.extend(situation(&state, action));
            let Some(next) = state.after(action, Mutant::None) else { break };
            state = next;
        }
        ways.push(way);
    }
    ways
}

struct Replay<'f, T> {
    fleet: &'f Fleet<T>,
    key: TierKey,
    tags: Arc<[Arc<str>]>,
    hands: [Hand; 2],
}

/// What a process has from the tier.
#[derive(Default)]
struct Hand {
    lease: Option<Lease>,
    /// That of a run that was superseded.
    ghost: Option<Lease>,
    sent: Option<Lease>,
    signal: Option<Signal>,
}

impl<'f, T: Tier> Replay<'f, T> {
    fn new(fleet: &'f Fleet<T>, number: usize) -> Self {
        let name = format!("trace {number}");
        Self { fleet, key: key(&name), tags: tags(&[&name]), hands: Default::default() }
    }

    fn process(&self, p: usize) -> &'f super::Process<T> {
        if p == 0 { &self.fleet.one } else { &self.fleet.two }
    }

    fn record(&self, made: u8) -> Record {
        Record { tags: Arc::clone(&self.tags), ..record(&made.to_string()) }
    }

    async fn follow(mut self, mut state: State, trace: &[Action]) {
        for &action in trace {
            let Some(next) = state.after(action, Mutant::None) else { panic!("{action:?} is not possible") };
            if !self.step(&state, action, &next).await {
                return;
            }
            for (p, hand) in self.hands.iter_mut().enumerate() {
                if next.processes[p].ghost.is_some() && state.processes[p].ghost.is_none() {
                    hand.ghost = hand.lease.take();
                }
            }
            if situation(&state, action).is_some() {
                for process in [&self.fleet.one, &self.fleet.two] {
                    let there = process.payload(&self.key).await;
                    assert_eq!(there, next.value.map(|made| made.to_string().into()), "what is there after {action:?}");
                }
            }
            state = next;
        }
        for p in 0..2 {
            if let Flight::Watching { is_woken: true } | Flight::Following { is_woken: true } =
                state.processes[p].flight
            {
                self.is_woken(p).await;
            }
        }
    }

    async fn is_woken(&mut self, p: usize) {
        if let Some(signal) = self.hands[p].signal.take() {
            assert!(timeout(PATIENCE, signal).await.is_ok(), "process {p} is not woken");
        }
    }

    /// Says whether to go on.
    async fn step(&mut self, state: &State, action: Action, next: &State) -> bool {
        match action {
            Action::Ask(p) | Action::Force(p) => {
                if let Flight::Following { .. } = state.processes[p].flight {
                    self.is_woken(p).await;
                }
                let force = matches!(action, Action::Force(_));
                let claim = Claim { force, tags: Arc::clone(&self.tags), ..Claim::default() };
                let acquired = self.process(p).acquire(&self.key, claim).await;
                match (next.processes[p].flight, acquired) {
                    (Flight::Found { made, .. }, Acquired::Value(kept)) => {
                        assert_eq!(kept.record.payload, made.to_string().into_bytes(), "after {action:?}");
                    }
                    (Flight::Running(..), Acquired::Leased(lease)) => self.hands[p].lease = Some(lease),
                    (Flight::Busy | Flight::Following { .. }, Acquired::Busy(_)) => {}
                    // A tier need not know of a lease that is good for nothing.
                    (Flight::Running(..), Acquired::Busy(_)) if state.lease.is_some_and(|lease| lease.is_void) => {
                        return false;
                    }
                    (flight, acquired) => panic!("{action:?} comes to {acquired:?}, and should to {flight:?}"),
                }
            }
            Action::Watch(p) => self.hands[p].signal = Some(self.process(p).watch(&self.key).await),
            Action::Succeed(p, run) | Action::Fail(p, run) => {
                let hand = &mut self.hands[p];
                hand.sent = if run == Run::Current { hand.lease.take() } else { hand.ghost.take() };
            }
            Action::Deliver(p) => self.deliver(state, p).await,
            Action::Reach(p) => self.reach(state, p, next).await,
            Action::Crash(p) => self.hands[p] = Hand { sent: self.hands[p].sent.take(), ..Hand::default() },
            // Nobody waits for its time: it is taken away, and given back.
            Action::Lapse => {
                let process = &self.fleet.one;
                let lease = process.lease(&self.key, Claim { force: true, ..Claim::default() }).await;
                process.release(&self.key, &lease, Duration::ZERO).await;
            }
            Action::Receive(_)
            | Action::Begin(..)
            | Action::Acknowledge(_)
            | Action::Hear(..)
            | Action::Unlink(_)
            | Action::Forget(_)
            | Action::Die => {}
        }
        true
    }

    async fn deliver(&mut self, state: &State, p: usize) {
        let (Some(sent), Some(lease)) = (state.processes[p].sent, self.hands[p].sent.take()) else {
            panic!("nothing was sent")
        };
        match sent {
            Sent::Fill { made, holds } => {
                let is_good = holds && state.lease.is_some_and(|lease| !lease.is_void);
                let fill = self.process(p).fill(&self.key, &lease, self.record(made)).await;
                assert_eq!(fill.is_some(), is_good, "whether the fill of {p} is stored");
            }
            Sent::Release { .. } => self.process(p).release(&self.key, &lease, Duration::ZERO).await,
        }
    }

    async fn reach(&self, state: &State, p: usize, next: &State) {
        let process = self.process(p);
        let void = state.processes[p].void.map(|void| void.what);
        match (void, next.value) {
            (Some(Void::Tag), _) => process.invalidate_tag(&self.tags[0]).await,
            (Some(Void::Put), Some(made)) => {
                process.put(&self.key, self.record(made)).await;
            }
            _ => process.invalidate(&self.key).await,
        }
        let news = match void {
            Some(Void::Tag) => News::Tag(Arc::clone(&self.tags[0])),
            _ => News::Voided(self.key.clone()),
        };
        self.process(1 - p).hears(&news).await;
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_hundreds_of_traces_and_every_kind_of_step_is_in_them() {
        let traces = traces();
        assert!((200..1_000).contains(&traces.len()), "{}", traces.len());
        let mut kinds = HashSet::new();
        for (mut state, trace) in traces {
            for action in trace {
                let void = |p: usize| state.processes[p].void.map(|void| void.what);
                kinds.insert(match action {
                    Action::Reach(p) => (discriminant(&action), void(p)),
                    _ => (discriminant(&action), None),
                });
                state = state.after(action, Mutant::None).expect("the model has taken this step");
                assert_eq!(state.fault(), None);
            }
        }
        // `Reach` is three of them. Nothing dies of age, and no link is lost, which is nothing to a tier.
        assert_eq!(kinds.len(), 16 - 3 + 2, "{kinds:?}");
    }
}
