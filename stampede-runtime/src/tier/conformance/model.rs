//! A model of a fleet and its tier, small enough for all its states to be looked at.
//!
//! There is one key, which has one tag. What the world is like is a number that grows with every change; a value is the number
//! that its run began with, and each change is followed by something that voids what was known before. Messages are under way
//! for as long as they please: claims come back, fills and invalidations arrive, and news is heard, in any order. Tokens are
//! known by whether they are those of the lease that stands, so there are finitely many states.
//!
//! In each of them ([`State::fault`]):
//!
//! 1. The tier has no value that was known before a void which somebody has been told is done.
//! 2. No process can read a value from memory that was known before a void which it was told is done, or has heard of.
//! 3. No more runs go on at once than one, and one for each lease that was lost, void, and forced claim.
//! 4. Who waits unwoken waits for a lease that stands.
//! 5. If nothing new comes up, all who wait get an answer ([`explore`](super::explore)).

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A call misses memory, or somebody who has waited asks again: the claim reaches the tier.
    Ask(usize),
    /// Likewise, by a `fresh` call.
    Force(usize),
    /// The value that the tier has answered with is there. All other answers might as well be there at once: a run that begins
    /// as early as it can knows the least.
    Receive(usize),
    /// Who was told that somebody has the lease begins to watch.
    Watch(usize),
    /// The run ends, and its value is sent; the run of a flight that is current, or one that is not any more.
    Succeed(usize, Run),
    /// The run ends with nothing, and its lease is sent back.
    Fail(usize, Run),
    /// What a run has sent reaches the tier.
    Deliver(usize),
    /// Somebody voids what is known.
    Begin(usize, Void),
    /// That reaches the tier.
    Reach(usize),
    /// They are told that it is done.
    Acknowledge(usize),
    /// News of a void is heard.
    Hear(usize, u8),
    /// The link for news is lost, and noticed to be. All that memory has is unverified.
    Unlink(usize),
    Crash(usize),
    /// The lease ends with its time.
    Lapse,
    /// The value's time is over, in memory or in the tier.
    Forget(usize),
    Die,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Run {
    Current,
    Superseded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Void {
    Key,
    Tag,
    Put,
}

/// What is left out of the protocol, to see that it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    None,
    /// A fill does not look at its token.
    FillWithoutToken,
    /// A fill does not look at its tags.
    FillWithoutTags,
    /// An invalidation leaves the lease.
    VoidWithoutLease,
    /// Who watches does not ask once more before it waits.
    WatchWithoutAsking,
    /// What was loaded between an invalidation's beginning and its end stays in memory.
    VoidOnceHere,
    /// An answer that was overtaken by news is kept in memory.
    KeepOvertaken,
    /// A lease that is lost is never missed.
    LeasesStay,
}

/// How often each thing may happen that could go on for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Budget {
    pub(super) voids: u8,
    pub(super) losses: u8,
    pub(super) forces: u8,
    pub(super) crashes: u8,
    pub(super) unlinks: u8,
    /// Whether values die of age.
    pub(super) ages: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct State {
    world: u8,
    pub(super) value: Option<u8>,
    pub(super) lease: Option<Lease>,
    pub(super) processes: Vec<Process>,
    /// The latest void that somebody was told is done.
    acknowledged: u8,
    runs_allowed: u8,
    budget: Budget,
}

/// The one that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Lease {
    /// Its tag was voided since, so that it is as good as gone.
    pub(super) is_void: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Process {
    memory: Option<u8>,
    pub(super) flight: Flight,
    /// The run of a flight that was superseded.
    pub(super) ghost: Option<Running>,
    pub(super) sent: Option<Sent>,
    pub(super) void: Option<Voiding>,
    /// The voids that it will hear of, a bit for each.
    pub(super) news: u16,
    /// The latest void that it has heard of, or was told is done.
    known: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Flight {
    #[default]
    None,
    /// A value is under way. Something may be voided here meanwhile.
    Found {
        made: u8,
        is_overtaken: bool,
    },
    Busy,
    Watching {
        is_woken: bool,
    },
    Following {
        is_woken: bool,
    },
    /// Whether it was superseded while there was a ghost already.
    Running(Running, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Running {
    made: u8,
    /// Whether its lease is the one that stands.
    holds: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Sent {
    Fill { made: u8, holds: bool },
    Release { holds: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Voiding {
    pub(super) what: Void,
    pub(super) number: u8,
    is_done: bool,
    /// Whoever wanted it has crashed.
    is_forgotten: bool,
}

impl Process {
    /// Whether its tokens are those of the lease that stands.
    fn tokens(&mut self) -> impl Iterator<Item = &mut bool> {
        let flight = match &mut self.flight {
            Flight::Running(run, _) => Some(&mut run.holds),
            _ => None,
        };
        let sent = self.sent.as_mut().map(|(Sent::Fill { holds, .. } | Sent::Release { holds })| holds);
        flight.into_iter().chain(self.ghost.as_mut().map(|run| &mut run.holds)).chain(sent)
    }

    fn wake(&mut self) {
        match &mut self.flight {
            Flight::Watching { is_woken } | Flight::Following { is_woken } => *is_woken = true,
            _ => {}
        }
    }

    /// Memory is void, and so is what is under way. Its run goes on, and later calls do not join it.
    fn void_here(&mut self) {
        self.memory = None;
        match &mut self.flight {
            Flight::Found { is_overtaken, .. } => *is_overtaken = true,
            Flight::Running(_, is_superseded) if self.ghost.is_some() => *is_superseded = true,
            Flight::Running(run, _) => {
                self.ghost = Some(*run);
                self.flight = Flight::None;
            }
            _ => {}
        }
    }

    fn runs(&self) -> u8 {
        u8::from(matches!(self.flight, Flight::Running(..))) + u8::from(self.ghost.is_some())
    }
}

impl State {
    pub(super) fn new(processes: usize, budget: Budget) -> Self {
        Self {
            world: 0,
            value: None,
            lease: None,
            processes: vec![Process::default(); processes],
            acknowledged: 0,
            runs_allowed: 1,
            budget,
        }
    }

    /// What may be possible.
    pub(super) fn actions(&self) -> Vec<Action> {
        let mut actions = vec![Action::Lapse, Action::Die];
        for (p, process) in self.processes.iter().enumerate() {
            actions.extend([Action::Unlink(p), Action::Crash(p), Action::Forget(p)]);
            match process.flight {
                Flight::None => actions.extend([Action::Ask(p), Action::Force(p)]),
                Flight::Found { .. } => actions.push(Action::Receive(p)),
                Flight::Busy => actions.push(Action::Watch(p)),
                Flight::Watching { .. } | Flight::Following { .. } => actions.push(Action::Ask(p)),
                Flight::Running(..) => {
                    actions.extend([Action::Succeed(p, Run::Current), Action::Fail(p, Run::Current)]);
                }
            }
            if process.ghost.is_some() {
                actions.extend([Action::Succeed(p, Run::Superseded), Action::Fail(p, Run::Superseded)]);
            }
            if process.sent.is_some() {
                actions.push(Action::Deliver(p));
            }
            match process.void {
                Some(_) => actions.extend([Action::Reach(p), Action::Acknowledge(p)]),
                None => actions.extend([Void::Key, Void::Tag, Void::Put].map(|void| Action::Begin(p, void))),
            }
            actions
                .extend((0..16).filter(|number| process.news & 1 << number != 0).map(|number| Action::Hear(p, number)));
        }
        actions
    }

    /// The state after an action, if that is possible.
    pub(super) fn after(&self, action: Action, mutant: Mutant) -> Option<Self> {
        let budget = &self.budget;
        let is_spent = match action {
            Action::Force(_) => budget.forces == 0,
            Action::Begin(..) => budget.voids == 0,
            Action::Unlink(_) => budget.unlinks == 0,
            Action::Crash(_) => budget.crashes == 0,
            Action::Forget(_) | Action::Die => !budget.ages,
            _ => false,
        };
        if is_spent {
            return None;
        }
        let mut next = self.clone();
        let is_possible = match action {
            Action::Ask(p) => next.ask(p, false),
            Action::Force(p) => {
                take(&mut next.budget.forces) && {
                    next.runs_allowed += 1;
                    next.ask(p, true)
                }
            }
            Action::Receive(p) => next.receive(p, mutant),
            Action::Watch(p) => next.watch(p, mutant),
            Action::Succeed(p, run) => next.end_run(p, run, true),
            Action::Fail(p, run) => next.end_run(p, run, false),
            Action::Deliver(p) => next.deliver(p, mutant),
            Action::Begin(p, what) => next.begin(p, what),
            Action::Reach(p) => next.reach(p, mutant),
            Action::Acknowledge(p) => next.acknowledge(p, mutant),
            Action::Hear(p, number) => next.hear(p, number),
            Action::Unlink(p) => {
                take(&mut next.budget.unlinks) && {
                    next.processes[p].news = 0;
                    next.processes[p].void_here();
                    true
                }
            }
            Action::Crash(p) => {
                take(&mut next.budget.crashes) && {
                    let Process { sent, void, .. } = std::mem::take(&mut next.processes[p]);
                    let void = void.filter(|void| !void.is_done).map(|void| Voiding { is_forgotten: true, ..void });
                    next.processes[p] = Process { sent, void, ..Process::default() };
                    true
                }
            }
            Action::Lapse => next.lapse(mutant),
            Action::Forget(p) => next.processes[p].memory.take().is_some(),
            Action::Die => next.value.take().is_some(),
        };
        is_possible.then_some(next)
    }

    fn ask(&mut self, p: usize, force: bool) -> bool {
        let process = &self.processes[p];
        let watch = match process.flight {
            Flight::None if force || process.memory.is_none() => None,
            Flight::Following { is_woken: true } if !force => None,
            Flight::Watching { is_woken } if !force => Some(is_woken),
            _ => return false,
        };
        self.processes[p].flight = match (self.value, self.lease, watch) {
            (Some(made), ..) if !force => Flight::Found { made, is_overtaken: false },
            (_, Some(Lease { is_void: false }), None) if !force => Flight::Busy,
            (_, Some(Lease { is_void: false }), Some(is_woken)) if !force => Flight::Following { is_woken },
            _ => {
                if self.lease.is_some() {
                    self.end_lease();
                }
                self.lease = Some(Lease { is_void: false });
                Flight::Running(Running { made: self.world, holds: true }, false)
            }
        };
        true
    }

    fn receive(&mut self, p: usize, mutant: Mutant) -> bool {
        let process = &mut self.processes[p];
        let Flight::Found { made, is_overtaken } = process.flight else { return false };
        if !is_overtaken || mutant == Mutant::KeepOvertaken {
            process.memory = Some(made);
        }
        process.flight = Flight::None;
        true
    }

    fn watch(&mut self, p: usize, mutant: Mutant) -> bool {
        let flight = &mut self.processes[p].flight;
        let is_busy = *flight == Flight::Busy;
        if is_busy && mutant == Mutant::WatchWithoutAsking {
            *flight = Flight::Following { is_woken: false };
        } else if is_busy {
            *flight = Flight::Watching { is_woken: false };
        }
        is_busy
    }

    fn end_run(&mut self, p: usize, run: Run, is_ok: bool) -> bool {
        let process = &mut self.processes[p];
        if process.sent.is_some() {
            return false;
        }
        let (Running { made, holds }, is_current) = match (run, process.flight) {
            (Run::Current, Flight::Running(run, is_superseded)) => {
                process.flight = Flight::None;
                (run, !is_superseded)
            }
            (Run::Superseded, _) => match process.ghost.take() {
                Some(run) => (run, false),
                None => return false,
            },
            _ => return false,
        };
        if is_ok && is_current {
            process.memory = Some(made);
        }
        process.sent = Some(if is_ok { Sent::Fill { made, holds } } else { Sent::Release { holds } });
        true
    }

    fn deliver(&mut self, p: usize, mutant: Mutant) -> bool {
        let Some(sent) = self.processes[p].sent.take() else { return false };
        match sent {
            Sent::Fill { made, holds } => {
                let is_void = holds && self.lease.is_some_and(|lease| lease.is_void);
                let is_good = holds || mutant == Mutant::FillWithoutToken;
                if is_good && (!is_void || mutant == Mutant::FillWithoutTags) {
                    self.value = Some(made);
                } else if self.processes[p].memory == Some(made) {
                    self.processes[p].memory = None;
                }
                if holds {
                    self.end_lease();
                }
            }
            Sent::Release { holds: true } => self.end_lease(),
            Sent::Release { holds: false } => {}
        }
        true
    }

    /// The world changes, and whoever knows of it says so: here, and then to the tier.
    fn begin(&mut self, p: usize, what: Void) -> bool {
        if self.processes[p].void.is_some() || !take(&mut self.budget.voids) {
            return false;
        }
        self.world += 1;
        self.runs_allowed += 1;
        let process = &mut self.processes[p];
        process.void_here();
        process.memory = (what == Void::Put).then_some(self.world);
        process.void = Some(Voiding { what, number: self.world, is_done: false, is_forgotten: false });
        true
    }

    fn reach(&mut self, p: usize, mutant: Mutant) -> bool {
        let Some(void) = self.processes[p].void.filter(|void| !void.is_done) else { return false };
        let mut number = void.number;
        match void.what {
            Void::Key => self.value = None,
            Void::Tag => {
                self.value = None;
                self.lease = self.lease.map(|_| Lease { is_void: true });
            }
            Void::Put => {
                // The value that is put is the truth, whatever else has happened since it was sent.
                self.world += 1;
                if self.processes[p].memory == Some(number) {
                    self.processes[p].memory = Some(self.world);
                }
                number = self.world;
                self.value = Some(number);
            }
        }
        if void.what != Void::Tag && mutant != Mutant::VoidWithoutLease {
            self.end_lease();
        }
        for (other, process) in self.processes.iter_mut().enumerate() {
            if other != p {
                process.news |= 1 << number;
            }
        }
        self.processes[p].void = (!void.is_forgotten).then_some(Voiding { number, is_done: true, ..void });
        true
    }

    fn acknowledge(&mut self, p: usize, mutant: Mutant) -> bool {
        let process = &mut self.processes[p];
        let Some(void) = process.void.filter(|void| void.is_done) else { return false };
        process.void = None;
        if mutant != Mutant::VoidOnceHere {
            // What was put stays, if nothing has voided it.
            let own = process.memory.filter(|&made| void.what == Void::Put && made == void.number);
            process.void_here();
            process.memory = own;
        }
        process.known = process.known.max(void.number);
        self.acknowledged = self.acknowledged.max(void.number);
        true
    }

    fn hear(&mut self, p: usize, number: u8) -> bool {
        let process = &mut self.processes[p];
        if process.news & 1 << number == 0 {
            return false;
        }
        process.news &= !(1 << number);
        process.void_here();
        process.known = process.known.max(number);
        true
    }

    /// Whose holder is gone it ends in any case. Else it is lost, which may happen so often.
    fn lapse(&mut self, mutant: Mutant) -> bool {
        if self.lease.is_none() || mutant == Mutant::LeasesStay {
            return false;
        }
        if self.processes.iter_mut().any(|process| process.tokens().any(|holds| *holds)) {
            if !take(&mut self.budget.losses) {
                return false;
            }
            self.runs_allowed += 1;
        }
        // They have been told how long it stands, and have a timer.
        self.end_lease();
        true
    }

    fn end_lease(&mut self) {
        self.lease = None;
        for process in &mut self.processes {
            process.tokens().for_each(|holds| *holds = false);
            process.wake();
        }
    }

    /// Which promise is broken.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let old = |made: Option<u8>, than: u8| made.is_some_and(|made| made < than);
        let faults = [
            (old(self.value, self.acknowledged), "an old value is in the tier"),
            (self.processes.iter().any(|process| old(process.memory, process.known)), "an old value is in memory"),
            (self.processes.iter().map(Process::runs).sum::<u8>() > self.runs_allowed, "there are too many runs"),
            (
                self.lease.is_none()
                    && self.processes.iter().any(|process| process.flight == Flight::Following { is_woken: false }),
                "somebody waits for nothing",
            ),
        ];
        faults.into_iter().find_map(|(is_broken, fault)| is_broken.then_some(fault))
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.processes.iter().all(|process| process.flight == Flight::None)
    }

    /// Whether an action is one of those that happen by themselves.
    pub(super) fn is_progress(&self, action: Action) -> bool {
        use Action::{Ask, Begin, Crash, Die, Force, Forget, Unlink};
        match action {
            Ask(p) => self.processes[p].flight != Flight::None,
            action => !matches!(action, Force(_) | Begin(..) | Unlink(_) | Crash(_) | Forget(_) | Die),
        }
    }
}

fn take(budget: &mut u8) -> bool {
    let is_left = *budget > 0;
    *budget = budget.saturating_sub(1);
    is_left
}
