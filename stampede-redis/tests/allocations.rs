//! Whatever bytes there are in Redis, reading them takes no more memory than a small multiple of their number.
#![allow(unsafe_code, reason = "a global allocator is an unsafe trait")]
#![expect(clippy::cast_possible_truncation, reason = "of random numbers, any part will do")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// Notes the largest piece that the thread allocates.
struct Noting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

/// The next of a row of numbers that look random.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn no_bytes_make_the_decoder_allocate_beyond_them() {
    let mut state = 1;
    for round in 0..100_000 {
        let len = (next(&mut state) % if round % 100 == 0 { 20_000 } else { 300 }) as usize;
        // Lengths are where it could go wrong: mostly zeros, some of them all ones.
        let mut data = vec![0; len];
        for _ in 0..next(&mut state) % 12 {
            if let Some(at) = (next(&mut state) as usize).checked_rem(len) {
                data[at] = if next(&mut state).is_multiple_of(2) { 255 } else { next(&mut state) as u8 };
            }
        }
        LARGEST.set(0);
        stampede_redis::__fuzzing::check_envelope(&data);
        assert!(LARGEST.get() <= 16 * len + 1024, "{} for {len} bytes", LARGEST.get());
    }
}
