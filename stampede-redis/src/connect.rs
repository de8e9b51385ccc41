//! How to reach Redis, and how to treat it.

use std::error::Error;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use stampede_runtime::tier::Limits;
use tokio::runtime::Handle;

use crate::backend::{Backend, Tls, info};
use crate::commands::Commands;
use crate::error::Fault;
use crate::link::{Task, keep};
use crate::names::Names;
use crate::news::News;
use crate::random;
use crate::tier::{Inner, Redis};

/// A connection to be made: await it.
///
/// It gives a [`Redis`] whether the server is there or not: the attempt that is awaited takes a second at most (four with a
/// Cluster or Sentinels), and goes on in the background if it fails. The tasks that see to this belong to the tokio runtime
/// that it is awaited on, and end with the last handle.
///
/// # Errors
///
/// [`ConnectError`] for what will not pass by itself: a URL or prefix that cannot be meant, a password that Redis refuses, a
/// server that is too old.
///
/// # Cancel safety
///
/// Dropping the future drops the connection.
#[derive(Clone)]
#[must_use = "it does nothing unless it is awaited"]
pub struct Connect {
    origin: Origin,
    prefix: String,
    limits: Limits,
    tls: Tls,
}

#[derive(Clone)]
enum Origin {
    Server(String),
    #[cfg(feature = "cluster")]
    Cluster(Vec<String>),
    #[cfg(feature = "sentinel")]
    Sentinel(Vec<String>, String),
}

impl Redis {
    /// One server: `redis://`, with user, password, port and database where they are not the usual ones
    /// (`redis://user:password@host:6379/0`), `unix:///path`, or `rediss://` for TLS, with the feature `tls`.
    ///
    /// ```no_run
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// use stampede_redis::Redis;
    ///
    /// let redis = Redis::connect("redis://127.0.0.1").prefix("shop").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(url: impl Into<String>) -> Connect {
        Connect::new(Origin::Server(url.into()))
    }

    /// A Cluster, by the URLs of some of its nodes.
    #[cfg(feature = "cluster")]
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Connect {
        Connect::new(Origin::Cluster(urls.into_iter().map(Into::into).collect()))
    }

    /// The primary of this name, which Sentinels know. The URLs are theirs; the user, password and database in the first one
    /// are the server's.
    #[cfg(feature = "sentinel")]
    pub fn sentinel<U: Into<String>>(urls: impl IntoIterator<Item = U>, name: impl Into<String>) -> Connect {
        Connect::new(Origin::Sentinel(urls.into_iter().map(Into::into).collect(), name.into()))
    }
}

impl Connect {
    fn new(origin: Origin) -> Self {
        Self { origin, prefix: "stampede".to_owned(), limits: Limits::default(), tls: Tls::default() }
    }

    /// What all names in Redis begin with. Fleets that use different ones do not see each other. Default: `stampede`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The tier's share of a call. Default: 250 ms.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limits.time = limit;
        self
    }

    /// For how long a process that does not renew it keeps the right to make a value. Default: 3 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.limits.lease = lease;
        self
    }

    /// How long copies in memory are used without asking Redis again, at most. Default: as long as the value is fresh.
    pub fn memory_ttl(mut self, ttl: Duration) -> Self {
        self.limits.memory_ttl = ttl;
        self
    }

    /// Values that take more bytes are neither written nor read. Default: 1 MiB.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.limits.value_bytes = bytes;
        self
    }

    /// The authority that signs the servers' certificates, in PEM, instead of those that the machine trusts.
    #[cfg(feature = "tls")]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.root = Some(pem.into());
        self
    }

    /// A certificate of our own and its key, in PEM, for servers that ask for one.
    #[cfg(feature = "tls")]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.own = Some((certificate.into(), key.into()));
        self
    }

    async fn make(self) -> Result<Redis, ConnectError> {
        self.check()?;
        let runtime = Handle::try_current().map_err(|_| ConnectError("there is no tokio runtime here".to_owned()))?;
        let backend = Arc::new(self.backend()?);
        let me = u128::from_be_bytes(random()?);
        let names = Names::new(&self.prefix);
        let commands = Arc::new(Commands::new());
        let news = Arc::new(News::new(me, names.news.clone(), runtime));
        let tasks = [Task::spawn(keep(commands.clone(), backend.clone())), Task::spawn(keep(news.clone(), backend))];
        let redis = Redis::new(Inner { names, limits: self.limits, me, commands, news, _tasks: tasks });
        match redis.first().await {
            Err(fault) if fault.is_loud => Err(fault.into()),
            _ => Ok(redis),
        }
    }

    fn check(&self) -> Result<(), ConnectError> {
        let prefix = &self.prefix;
        if prefix.is_empty() || prefix.contains(['{', '}']) {
            return Err(ConnectError(format!(
                "the prefix `{prefix}` cannot be used: write a word, such as `shop`, without braces"
            )));
        }
        if self.limits.lease < Duration::from_millis(10) {
            return Err(ConnectError("a lease of less than 10 ms cannot be renewed in time: 3 s is usual".to_owned()));
        }
        #[cfg(feature = "tls")]
        {
            let own = self.tls.own.iter().flat_map(|(certificate, key)| [certificate, key]);
            if self.tls.root.iter().chain(own).any(|pem| !pem.windows(11).any(|bytes| bytes == b"-----BEGIN ")) {
                return Err(ConnectError("a certificate or key is not in PEM (`-----BEGIN …`)".to_owned()));
            }
        }
        Ok(())
    }

    fn backend(&self) -> Result<Backend, ConnectError> {
        match &self.origin {
            Origin::Server(url) => Backend::server(parse(url)?, &self.tls).map_err(|error| of_url(url, &error)),
            #[cfg(feature = "cluster")]
            Origin::Cluster(urls) => Ok(Backend::cluster(parse_all(urls)?, self.tls.clone())),
            #[cfg(feature = "sentinel")]
            Origin::Sentinel(urls, name) => {
                Backend::sentinel(parse_all(urls)?, name, &self.tls).map_err(|error| Fault::from(error).into())
            }
        }
    }
}

#[cfg(any(feature = "cluster", feature = "sentinel"))]
fn parse_all(urls: &[String]) -> Result<Vec<redis::ConnectionInfo>, ConnectError> {
    if urls.is_empty() {
        return Err(ConnectError("no URL is given: write one at least, such as `redis://127.0.0.1:7000`".to_owned()));
    }
    urls.iter().map(|url| parse(url)).collect()
}

fn parse(url: &str) -> Result<redis::ConnectionInfo, ConnectError> {
    if cfg!(not(feature = "tls")) && ["rediss:", "valkeys:"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(ConnectError("a URL with `rediss` needs TLS: turn on the feature `tls` (`redis-tls`)".to_owned()));
    }
    info(url).map_err(|error| of_url(url, &error))
}

/// Without what a URL says of user and password.
fn of_url(url: &str, error: &redis::RedisError) -> ConnectError {
    let shown = match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…{}", &url[..scheme], &url[at..]),
        (None, Some(at)) => format!("…{}", &url[at..]),
        _ => url.to_owned(),
    };
    ConnectError(format!(
        "`{shown}` is not the URL of a Redis: write `redis://host`, `redis://user:password@host:6379/0`, \
         `rediss://host` for TLS or `unix:///path` ({error})"
    ))
}

impl IntoFuture for Connect {
    type Output = Result<Redis, ConnectError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password.
        f.debug_struct("Connect").field("prefix", &self.prefix).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Why there is no [`Redis`]: the message says what to write.
#[derive(Clone, Debug)]
pub struct ConnectError(String);

impl From<Fault> for ConnectError {
    fn from(fault: Fault) -> Self {
        Self(fault.message)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ConnectError {}
