//! The layer over real sockets, and by direct calls where a clock has to be paused.

mod client;
mod conditional;
mod contract;
mod crowds;
mod disconnects;
mod harness;
mod memory;
mod personal;
mod policies;
mod remote;
mod sharing;
mod streaming;
mod voiding;
