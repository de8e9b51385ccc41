//! What Redis says is wrong, in words that help.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use stampede_runtime::tier::TierError;

/// What came of a failed command or connection, and whether somebody has to see to it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) is_loud: bool,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_loud: false }
    }

    pub(crate) fn loud(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_loud: true }
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        // The message never contains what was sent, and so no password.
        match (error.kind(), error.code()) {
            (_, Some("NOAUTH")) => {
                Self::loud("Redis wants a password: write `redis://:PASSWORD@host` or `redis://USER:PASSWORD@host`")
            }
            (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => Self::loud(format!(
                "Redis refuses user and password; write `redis://:PASSWORD@host` or `redis://USER:PASSWORD@host`, with \
                 `%XX` for special characters ({error})"
            )),
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) => Self::loud(format!(
                "Redis does not let this user do what is needed: it wants `~PREFIX:*`, `&PREFIX:*`, and `+@read +@write \
                 +@scripting +@pubsub +@connection` ({error})"
            )),
            (ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported, _) => Self::loud(error.to_string()),
            _ if error.is_io_error() && is_of_certificates(&error.to_string()) => Self::loud(format!(
                "TLS: one side does not trust the other's certificate; `root_certificate` names the authority of the servers', \
                 `client_certificate` our own ({error})"
            )),
            _ => Self::new(error.to_string()),
        }
    }
}

/// Whether what TLS complains of is a certificate: there is no other way to tell.
fn is_of_certificates(message: &str) -> bool {
    message.contains("ertificate") || message.contains("UnknownCA")
}

impl From<Fault> for TierError {
    fn from(fault: Fault) -> Self {
        if fault.is_loud { Self::loud(fault.message) } else { Self::new(fault.message) }
    }
}
