//! The attribute and the runtime, as their users use them.

mod smoke;
