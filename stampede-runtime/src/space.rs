//! Identities: which cache a key belongs to.
//!
//! A cache is a function's site and the types of its instantiation, or the name and value type of a [`Cache`](crate::Cache).
//! Each gets a number, once per process; the number leads every key, so no two caches ever share one.

use std::any::TypeId;
use std::collections::HashMap;

use once_cell::sync::{Lazy, OnceCell};

use crate::key::Origin;
use crate::sync::plain::AtomicU64;
use crate::sync::{Mutex, Ordering};

/// What the caches are called.
static NAMES: Lazy<Mutex<HashMap<Space, &'static str>>> = Lazy::new(Mutex::default);

/// The number of a cache in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Space(u32);

impl Space {
    /// That of no cache.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    /// Its number in this process: in the order of their first use.
    #[inline]
    pub(crate) fn number(self) -> u64 {
        self.0.into()
    }

    /// What people call the cache.
    pub(crate) fn name(self) -> &'static str {
        NAMES.lock().get(&self).copied().unwrap_or_default()
    }

    pub(crate) fn to_bytes(self) -> [u8; size_of::<Self>()] {
        self.0.to_le_bytes()
    }

    /// The number of a function's instantiation: always the same one for equal arguments.
    fn of(site: &str, types: &[TypeId]) -> Self {
        static KNOWN: Lazy<Mutex<Known>> = Lazy::new(Mutex::default);
        KNOWN.lock().number(site, types).0
    }

    /// The number of a named cache, and its name for good: always the same ones for equal arguments.
    pub(crate) fn named(name: &str, value: TypeId) -> (Self, &'static str) {
        static KNOWN: Lazy<Mutex<Known>> = Lazy::new(Mutex::default);
        let (space, name) = KNOWN.lock().number(name, &[value]);
        (space, NAMES.lock().entry(space).or_insert(name))
    }
}

/// The identities that have numbers. There are as many as the program has caches, so they are never forgotten.
#[derive(Default)]
struct Known(HashMap<&'static str, HashMap<Box<[TypeId]>, Space>>);

impl Known {
    fn number(&mut self, name: &str, types: &[TypeId]) -> (Space, &'static str) {
        static COUNT: AtomicU64 = AtomicU64::new(1);

        let known = self.0.get_key_value(name).map(|(name, _)| *name);
        let name = known.unwrap_or_else(|| Box::leak(Box::from(name)));
        let instantiations = self.0.entry(name).or_default();
        if let Some(space) = instantiations.get(types) {
            return (*space, name);
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let Ok(number) = u32::try_from(number) else { unreachable!("for so many caches there is no memory") };
        let space = Space(number);
        instantiations.insert(types.into(), space);
        (space, name)
    }
}

/// Where an annotated function stands and what it is called. A function and its companion each have one, of equal
/// content, and so the same keys.
#[derive(Debug)]
pub struct Site {
    /// What tells this function from every other of the program.
    id: &'static str,
    /// What people call it.
    name: &'static str,
    first: OnceCell<(Box<[TypeId]>, Origin, &'static str)>,
}

impl Site {
    /// A site; `id` is unique, `name` is for people.
    pub const fn new(id: &'static str, name: &'static str) -> Self {
        Self { id, name, first: OnceCell::new() }
    }

    /// Where the hashes of an instantiation begin that has been used before.
    #[inline]
    pub(crate) fn known(&self, types: &[TypeId]) -> Option<&Origin> {
        let (first, origin, _) = self.first.get()?;
        (**first == *types).then_some(origin)
    }

    /// The space and name of an instantiation, `owner` being the type that the function belongs to. The first
    /// instantiation to be used is found without a lock, and most functions have only one.
    pub(crate) fn space(&self, types: &[TypeId], owner: Option<&str>) -> (Space, &'static str) {
        let (first, origin, name) = self.first.get_or_init(|| {
            let (space, name) = self.resolve(types, owner);
            (types.into(), Origin::of(space), name)
        });
        if **first == *types { (origin.space, name) } else { self.resolve(types, owner) }
    }

    fn resolve(&self, types: &[TypeId], owner: Option<&str>) -> (Space, &'static str) {
        let space = Space::of(self.id, types);
        let mut names = NAMES.lock();
        let name = names.entry(space).or_insert_with(|| match owner {
            Some(owner) => Box::leak(format!("{owner}::{}", self.name).into()),
            None => self.name,
        });
        (space, name)
    }
}
