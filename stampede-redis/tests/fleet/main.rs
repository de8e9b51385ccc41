//! Fleets of real processes on one server: what holds between them, whoever dies, stops, fails or falls sick.
//!
//! The processes are this program, started anew ([`worker`]). The origin is the test: each run of a body asks it for its value
//! ([`fleet`]), so a test sees every run, holds it, and answers it when it likes.

#[path = "../it/proxy.rs"]
mod proxy;
#[path = "../it/server.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod server;

mod counts;
mod fences;
mod fleet;
mod leases;
mod outages;
mod worker;

/// A process of a fleet, where a test starts it as one. By itself, it is the test of a fleet of one.
#[test]
fn process() {
    match std::env::var(worker::VARIABLE) {
        Ok(setup) => worker::run(&setup),
        Err(_) => counts::a_process_does_without_others(),
    }
}
