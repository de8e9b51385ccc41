//! Entries as readers have them: where they are, and what keeps them there.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use crate::aside::Careful;
use crate::space::Space;
use crate::sync::Ordering;

use super::Token;
use super::grace::Section;
use super::stored::{AnyStored, Head, Stored};
use super::table::Table;

/// An entry that was found within a section, and is there until that ends.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'s> {
    /// From [`AnyStored::into_raw`].
    at: *const Head,
    section: PhantomData<&'s Section>,
}

impl Deref for Entry<'_> {
    type Target = Head;

    #[inline]
    fn deref(&self) -> &Head {
        self.head()
    }
}

impl<'s> Entry<'s> {
    /// The entry at an address.
    ///
    /// # Safety
    ///
    /// It is from [`AnyStored::into_raw`]; and until `'s` is over, the share is not given back, and nobody has more than a
    /// shared reference to the value.
    #[expect(unsafe_code, reason = "what is found without a lock is held by the section alone")]
    #[inline]
    pub(super) const unsafe fn at(at: *const Head) -> Self {
        Self { at, section: PhantomData }
    }

    #[inline]
    pub(crate) fn stored(self) -> &'s AnyStored {
        #[expect(unsafe_code, reason = "what is found without a lock is held by the section alone")]
        // SAFETY: see `at`.
        unsafe {
            &*AnyStored::whole(self.at)
        }
    }

    /// The value, if it is of this type. It is found without a look at what all types have.
    #[inline]
    pub(crate) fn value<V: Any>(self) -> Option<&'s V> {
        if self.whole.ty != const { AnyStored::type_of::<V>() } {
            return None;
        }
        #[expect(unsafe_code, reason = "to ask what all types have takes longer than all else about it")]
        // SAFETY: see `at`. What has this type is that, and begins where its head does.
        let stored = unsafe { &*self.at.cast::<Stored<Careful<V>>>() };
        stored.get()
    }

    #[inline]
    fn head(self) -> &'s Head {
        #[expect(unsafe_code, reason = "what is found without a lock is held by the section alone")]
        // SAFETY: see `at`.
        unsafe {
            &*self.at
        }
    }

    /// The parts of its key.
    #[inline]
    pub(crate) fn parts(self) -> &'s [u8] {
        self.head().parts()
    }

    pub(super) fn token(self) -> Token {
        Token::of(self.hash, self.number.load(Ordering::Relaxed))
    }

    pub(super) fn gone(self) -> Gone {
        Gone { token: self.token(), space: self.space }
    }

    /// A share of the value.
    pub(crate) fn share(self) -> Arc<AnyStored> {
        #[expect(unsafe_code, reason = "what is found without a lock is held by the section alone")]
        // SAFETY: it is from `Arc::into_raw`, and as long as the section lives, so does the share that is in the table. One more
        // is made, and given to the caller.
        unsafe {
            let stored = AnyStored::whole(self.at);
            Arc::increment_strong_count(stored);
            Arc::from_raw(stored)
        }
    }
}

/// An entry of a table, with the section that it was found in: which ends before the one around it does, if there is one.
pub(crate) struct Held<'t> {
    at: *const Head,
    section: Section,
    table: PhantomData<&'t Table>,
}

impl<'t> Held<'t> {
    /// The entry with this hash that `is_it`.
    pub(super) fn find(table: &'t Table, section: Section, hash: u64, is_it: impl Fn(&Head) -> bool) -> Option<Self> {
        let at = table.find(&section, hash, is_it)?.at;
        Some(Self { at, section, table: PhantomData })
    }

    /// The entry of this cache with this hash that is where such are looked for first. If there is none, the section goes on.
    #[inline]
    pub(super) fn first(table: &'t Table, section: Section, space: Space, hash: u64) -> Result<Self, Section> {
        match table.first(&section, hash) {
            Some(entry) if entry.space == space => Ok(Self { at: entry.at, section, table: PhantomData }),
            _ => Err(section),
        }
    }

    #[inline]
    pub(crate) const fn entry(&self) -> Entry<'_> {
        #[expect(unsafe_code, reason = "what is found without a lock is held by the section alone")]
        // SAFETY: it was an entry of the section, which is still there, and so is the table.
        unsafe {
            Entry::at(self.at)
        }
    }

    #[inline]
    pub(super) const fn section(&self) -> &Section {
        &self.section
    }
}

/// An entry that is in the table no more.
pub(super) struct Gone {
    pub(super) token: Token,
    pub(super) space: Space,
}
