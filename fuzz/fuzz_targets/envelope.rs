//! What the Redis tier finds in its keys and hears on its channels, of whatever bytes.
//!
//! `cargo +nightly fuzz run envelope`

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| stampede_redis::__fuzzing::check_envelope(data));
