//! A connection, to one server or to a Cluster.

use std::pin::pin;

use futures_util::future::{Either, select};
use redis::aio::MultiplexedConnection;
#[cfg(feature = "cluster")]
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult};
use tokio::sync::watch;

use crate::error::Fault;

/// A connection that many use at once: a cheap handle. Commands under way fail when it is given up.
#[derive(Clone)]
pub(crate) struct Wire {
    connection: Connection,
    /// Nothing is ever sent here: its sender goes with the connection.
    given_up: watch::Receiver<()>,
}

#[derive(Clone)]
pub(crate) enum Connection {
    Server(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster(ClusterConnection),
}

/// Runs the same on either kind of connection.
macro_rules! on {
    ($wire:expr, $connection:ident => $server:expr, $cluster:expr) => {{
        let mut given_up = $wire.given_up.clone();
        let answer = async {
            match &mut $wire.connection {
                Connection::Server($connection) => $server.await,
                #[cfg(feature = "cluster")]
                Connection::Cluster($connection) => $cluster.await,
            }
        };
        match select(pin!(answer), pin!(given_up.changed())).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(RedisError::from((ErrorKind::Io, "the connection was given up"))),
        }
    }};
}

impl Wire {
    pub(crate) fn new(connection: Connection, given_up: watch::Receiver<()>) -> Self {
        Self { connection, given_up }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        !matches!(self.connection, Connection::Server(_))
    }

    pub(crate) async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        on!(self, connection => command.query_async(connection), command.query_async(connection))
    }

    /// Subscribes to a channel that everybody hears.
    pub(crate) async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        on!(self, connection => connection.subscribe(channel), connection.subscribe(channel))
    }

    /// Subscribes to a channel of one key.
    pub(crate) async fn watch(&mut self, channel: &str) -> RedisResult<()> {
        on!(self, connection => connection.subscribe(channel), connection.ssubscribe(channel))
    }

    pub(crate) async fn unwatch(&mut self, channel: &str) -> RedisResult<()> {
        on!(self, connection => connection.unsubscribe(channel), connection.sunsubscribe(channel))
    }
}

/// The oldest Redis that has what is needed: `SPUBLISH`, `PEXPIRE … GT`, `SET … NX GET`. Valkey began at 7.2.
const OLDEST: (u32, u32) = (7, 0);

impl Wire {
    /// Whether somebody is there: in a Cluster, all primaries.
    pub(crate) async fn ping(&mut self) -> RedisResult<()> {
        self.query(&redis::cmd("PING")).await
    }

    /// Whether the server is one that we know how to talk to. One that does not say is given the benefit of the doubt.
    pub(crate) async fn check_version(&mut self) -> Result<(), Fault> {
        let mut info = redis::cmd("INFO");
        info.arg("server");
        let text: Option<String> = match &mut self.connection {
            Connection::Server(connection) => info.query_async(connection).await.ok(),
            #[cfg(feature = "cluster")]
            Connection::Cluster(connection) => {
                use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
                let route = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                let text = connection.route_command(info, route).await;
                text.ok().and_then(|text| redis::from_redis_value(text).ok())
            }
        };
        let version = text.as_deref().and_then(version);
        match version {
            Some(version) if version < OLDEST => Err(Fault::loud(format!(
                "the server is Redis {}.{}, and stampede needs Redis {}.{} or later, or Valkey",
                version.0, version.1, OLDEST.0, OLDEST.1
            ))),
            _ => Ok(()),
        }
    }
}

/// What `INFO server` says of its version. Valkey says which Redis it is like.
fn version(info: &str) -> Option<(u32, u32)> {
    let line = info.lines().find_map(|line| line.strip_prefix("redis_version:"))?;
    let mut numbers = line.trim().split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("# Server\r\nredis_version:7.0.15\r\nredis_git_sha1:0\r\n"), Some((7, 0)));
        assert_eq!(version("redis_version:6.2.14\r\n"), Some((6, 2)));
        assert_eq!(version("redis_version:255.255.255\r\n"), Some((255, 255)));
        assert_eq!(version("valkey_version:8.0.1\r\n"), None);
        assert!(version("redis_version:6.2.14").is_some_and(|version| version < OLDEST));
    }
}
