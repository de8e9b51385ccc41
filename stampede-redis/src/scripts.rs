//! The scripts, each of which is one atomic step on the server.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind};

use crate::wire::Wire;

/// A script for a server, and for the nodes of a Cluster.
pub(crate) struct Script {
    single: LazyLock<Source>,
    cluster: LazyLock<Source>,
}

struct Source {
    text: String,
    sha: String,
}

impl Source {
    fn new(wake: &str, body: &str) -> Self {
        let text = format!("local WAKE = '{wake}'\n{body}");
        let sha = redis::Script::new(&text).get_hash().to_owned();
        Self { text, sha }
    }
}

impl Script {
    /// Runs the script, which is sent in full only if the server does not have it.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        wire: &mut Wire,
        keys: usize,
        arguments: impl Fn(&mut Cmd) + Send + Sync,
    ) -> RedisResult<T> {
        let source = if wire.is_cluster() { &self.cluster } else { &self.single };
        let command = |name, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(keys);
            arguments(&mut command);
            command
        };
        match wire.query(&command("EVALSHA", &source.sha)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                wire.query(&command("EVAL", &source.text)).await
            }
            result => result,
        }
    }
}

/// A script is what it needs of the common parts, and its own.
macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)*) => {
        $(pub(crate) static $name: Script = Script {
            single: LazyLock::new(|| Source::new("PUBLISH", concat!($(include_str!(concat!("scripts/", $file, ".lua"))),+))),
            cluster: LazyLock::new(|| Source::new("SPUBLISH", concat!($(include_str!(concat!("scripts/", $file, ".lua"))),+))),
        };)*
    };
}

scripts! {
    READ = "prelude" "value" "read";
    ACQUIRE = "prelude" "tags" "value" "lease" "acquire";
    FILL = "prelude" "tags" "lease" "fill";
    RELEASE = "prelude" "lease" "release";
    RENEW = "prelude" "renew";
    PUT = "prelude" "tags" "put";
    INVALIDATE = "prelude" "invalidate";
    DISCARD = "prelude" "discard";
    EXPIRE = "prelude" "expire";
    VOID = "prelude" "void";
    CLEAR = "prelude" "clear";
}
