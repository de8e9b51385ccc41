//! What the codecs make of bytes that nobody has written.
//!
//! `cargo +nightly fuzz run codec`

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../stampede-runtime/tests/codec/shapes.rs"]
mod shapes;

fuzz_target!(|data: &[u8]| shapes::check(data));
