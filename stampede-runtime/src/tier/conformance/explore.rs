//! A walk through all states of a [`model`](super::model).

use std::collections::HashMap;

use super::model::{Action, Mutant, State};

/// All states there are, each with how it was come by first.
pub(super) struct Explored {
    pub(super) states: Vec<State>,
    /// By which action, from which state.
    ways: Vec<Option<(usize, Action)>>,
    /// From which, by which action, to which.
    pub(super) steps: Vec<(u32, Action, u32)>,
}

impl Explored {
    /// How a state is come by.
    pub(super) fn way(&self, mut to: usize) -> Vec<Action> {
        let mut way = Vec::new();
        while let Some((from, action)) = self.ways[to] {
            way.push(action);
            to = from;
        }
        way.reverse();
        way
    }
}

/// Looks at all states there are. What is wrong with one of them comes with how it was come by.
///
/// States that differ in the order of the processes alone are taken for one if `is_symmetric`; then ways mean little.
pub(super) fn explore(
    begin: State,
    mutant: Mutant,
    is_symmetric: bool,
) -> Result<Explored, (&'static str, Vec<Action>)> {
    let mut numbers = HashMap::from([(begin.clone(), 0)]);
    let mut explored = Explored { states: vec![begin], ways: vec![None], steps: Vec::new() };
    let mut at = 0;
    while at < explored.states.len() {
        let state = explored.states[at].clone();
        if let Some(fault) = state.fault() {
            return Err((fault, explored.way(at)));
        }
        for action in state.actions() {
            let Some(mut next) = state.after(action, mutant) else { continue };
            if is_symmetric {
                next.processes.sort();
            }
            let number = *numbers.entry(next).or_insert_with_key(|next| {
                explored.states.push(next.clone());
                explored.ways.push(Some((at, action)));
                explored.states.len() - 1
            });
            explored.steps.push((index(at), action, index(number)));
        }
        at += 1;
    }
    match stuck(&explored) {
        Some(at) => Err(("somebody waits for ever", explored.way(at))),
        None => Ok(explored),
    }
}

fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A state from which no way leads to quiet, though nothing new comes up.
fn stuck(explored: &Explored) -> Option<usize> {
    let mut before: Vec<Vec<u32>> = vec![Vec::new(); explored.states.len()];
    for &(from, action, to) in &explored.steps {
        if explored.states[from as usize].is_progress(action) {
            before[to as usize].push(from);
        }
    }
    let mut is_fine: Vec<bool> = explored.states.iter().map(State::is_quiet).collect();
    let mut fine: Vec<usize> = (0..is_fine.len()).filter(|&at| is_fine[at]).collect();
    while let Some(at) = fine.pop() {
        for &from in &before[at] {
            if !std::mem::replace(&mut is_fine[from as usize], true) {
                fine.push(from as usize);
            }
        }
    }
    is_fine.iter().position(|is_fine| !is_fine)
}

#[cfg(test)]
mod tests {
    use super::super::model::Budget;
    use super::*;

    const NONE: Budget = Budget { voids: 0, losses: 0, forces: 0, crashes: 0, unlinks: 0, ages: false };

    fn holds(processes: usize, budget: Budget) {
        let explored = explore(State::new(processes, budget), Mutant::None, true);
        match explored {
            Ok(explored) => println!("{} states of {processes} processes with {budget:?}", explored.states.len()),
            Err((fault, way)) => panic!("{fault}, after {way:#?}"),
        }
    }

    #[test]
    fn two_processes_keep_the_promises() {
        holds(2, Budget { voids: 1, ages: true, ..NONE });
        holds(2, Budget { voids: 1, losses: 1, ..NONE });
        holds(2, Budget { voids: 1, crashes: 1, ..NONE });
        holds(2, Budget { voids: 1, forces: 1, ..NONE });
        holds(2, Budget { voids: 1, unlinks: 1, ..NONE });
        holds(2, Budget { losses: 2, forces: 1, crashes: 1, ages: true, ..NONE });
    }

    /// A minute's work with optimisation, and not to be waited for without.
    #[cfg(not(debug_assertions))]
    #[test]
    fn more_of_everything_keeps_the_promises() {
        holds(2, Budget { voids: 1, losses: 1, crashes: 1, unlinks: 1, ages: true, ..NONE });
        holds(2, Budget { voids: 2, ..NONE });
        holds(3, Budget { voids: 1, ..NONE });
    }

    #[test]
    fn three_processes_keep_the_promises() {
        holds(3, Budget { losses: 1, crashes: 1, ..NONE });
    }

    #[test]
    fn whatever_is_left_out_is_missed() {
        for (mutant, fault) in [
            (Mutant::FillWithoutToken, "an old value is in the tier"),
            (Mutant::FillWithoutTags, "an old value is in the tier"),
            (Mutant::VoidWithoutLease, "an old value is in the tier"),
            (Mutant::WatchWithoutAsking, "somebody waits for nothing"),
            (Mutant::VoidOnceHere, "an old value is in memory"),
            (Mutant::KeepOvertaken, "an old value is in memory"),
            (Mutant::LeasesStay, "somebody waits for ever"),
        ] {
            let found = explore(State::new(2, Budget { voids: 1, crashes: 1, ..NONE }), mutant, true).err();
            assert_eq!(found.as_ref().map(|(fault, _)| *fault), Some(fault), "{mutant:?}: {found:?}");
        }
    }
}
