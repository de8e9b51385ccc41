//! `Cache-Control`, `Vary`, `Range`, entity tags and conditions, of whatever bytes a header can hold.
//!
//! `cargo +nightly fuzz run http_headers`

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| stampede_http::__fuzzing::check_headers(data));
