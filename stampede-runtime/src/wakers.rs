//! The wakers of those who wait for a flight.

use std::task::Waker;

/// The wakers of those who wait, each at a place that is free again when its owner leaves.
#[derive(Default)]
pub(crate) struct Wakers {
    places: Vec<Option<Waker>>,
    free: Vec<Place>,
}

pub(crate) type Place = usize;

impl Wakers {
    /// Puts a waker at its place, or finds it one. Gives back what it replaces.
    pub(crate) fn register(&mut self, place: &mut Option<Place>, waker: &Waker) -> Option<Waker> {
        if let Some(place) = *place {
            let current = &mut self.places[place];
            return match current {
                Some(current) if current.will_wake(waker) => None,
                _ => current.replace(waker.clone()),
            };
        }
        let free = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        *place = Some(free);
        self.places[free].replace(waker.clone())
    }

    /// Frees a place.
    pub(crate) fn leave(&mut self, place: Place) -> Option<Waker> {
        self.free.push(place);
        self.places[place].take()
    }

    /// All of them, to be woken outside the lock. Nobody has a place any more.
    pub(crate) fn into_all(self) -> impl Iterator<Item = Waker> {
        self.places.into_iter().flatten()
    }

    /// All of them, to be woken outside the lock. The places stay taken.
    pub(crate) fn all(&mut self) -> Vec<Waker> {
        self.places.iter_mut().filter_map(Option::take).collect()
    }
}
