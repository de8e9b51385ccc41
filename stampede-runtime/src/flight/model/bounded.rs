//! Every schedule with a bounded number of pre-emptions.

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

use crate::sync::is_releasing;

/// Enumerates, depth first, the schedules in which a task is at most so many times put aside although it could go on. Where
/// a task waits, ends or yields, the next one is any of the others, free of charge.
#[derive(Debug)]
pub(crate) struct Bounded {
    preemptions: usize,
    /// The choices of this execution.
    path: Vec<Choice>,
    depth: usize,
    spent: usize,
    begun: bool,
}

#[derive(Debug)]
struct Choice {
    taken: usize,
    of: usize,
}

impl Bounded {
    pub(crate) fn new(preemptions: usize) -> Self {
        Self { preemptions, path: Vec::new(), depth: 0, spent: 0, begun: false }
    }

    /// The choice at this point: the one of the execution before, or the first.
    fn choose(&mut self, of: usize) -> usize {
        if self.depth == self.path.len() {
            self.path.push(Choice { taken: 0, of });
        }
        let choice = &self.path[self.depth];
        assert_eq!(choice.of, of, "a model decides something by other things than its schedule");
        self.depth += 1;
        choice.taken
    }
}

impl Scheduler for Bounded {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.begun {
            while self.path.pop_if(|last| last.taken + 1 == last.of).is_some() {}
            self.path.last_mut()?.taken += 1;
        }
        self.begun = true;
        (self.depth, self.spent) = (0, 0);
        Some(Schedule::new(0))
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        let others = || runnable.iter().map(|task| task.id()).filter(move |task| Some(*task) != current);
        let going_on = current.filter(|current| runnable.iter().any(|task| task.id() == *current));
        let options: Vec<TaskId> = match going_on {
            Some(current) if is_yielding => others().chain(runnable.len().eq(&1).then_some(current)).collect(),
            Some(current) if self.spent == self.preemptions || is_releasing() => vec![current],
            Some(current) => std::iter::once(current).chain(others()).collect(),
            None => others().collect(),
        };
        let chosen = options[self.choose(options.len())];
        if !is_yielding && going_on.is_some_and(|current| current != chosen) {
            self.spent += 1;
        }
        Some(chosen)
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("what is enumerated leaves nothing to chance")
    }
}
