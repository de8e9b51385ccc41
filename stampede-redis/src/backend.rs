//! Where connections come from.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo, RedisResult,
};

use crate::wire::Connection;

/// How long an attempt to connect may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A server, a Cluster, or the Sentinels that know where the server is.
pub(crate) enum Backend {
    Server(Client),
    #[cfg(feature = "cluster")]
    Cluster(Vec<ConnectionInfo>, Tls),
    #[cfg(feature = "sentinel")]
    Sentinel(Box<tokio::sync::Mutex<redis::sentinel::SentinelClient>>),
}

/// Certificates, where the machine's own are not those that are wanted.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    /// Of the authority that signs the server's, in PEM.
    #[cfg(feature = "tls")]
    pub(crate) root: Option<Vec<u8>>,
    /// Our own, and its key, in PEM.
    #[cfg(feature = "tls")]
    pub(crate) own: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    #[cfg(feature = "tls")]
    fn certificates(&self) -> redis::TlsCertificates {
        let own = self.own.clone();
        redis::TlsCertificates {
            client_tls: own.map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key }),
            root_cert: self.root.clone(),
        }
    }
}

/// What a URL says, with what holds for all connections.
pub(crate) fn info(url: &str) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name("stampede", env!("CARGO_PKG_VERSION"));
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp()))
}

fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

impl Backend {
    pub(crate) fn server(info: ConnectionInfo, tls: &Tls) -> RedisResult<Self> {
        #[cfg(feature = "tls")]
        if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            provide_cryptography();
            return Client::build_with_tls(info, tls.certificates()).map(Self::Server);
        }
        let _ = tls;
        Client::open(info).map(Self::Server)
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn cluster(nodes: Vec<ConnectionInfo>, tls: Tls) -> Self {
        #[cfg(feature = "tls")]
        provide_cryptography();
        Self::Cluster(nodes, tls)
    }

    /// The login of the first URL is that of the servers, and so is whether they speak TLS.
    #[cfg(feature = "sentinel")]
    pub(crate) fn sentinel(nodes: Vec<ConnectionInfo>, name: &str, tls: &Tls) -> RedisResult<Self> {
        use redis::sentinel::{SentinelClientBuilder, SentinelServerType};

        let first = nodes.first().cloned();
        let addresses: Vec<_> = nodes.into_iter().map(|node| node.addr().clone()).collect();
        let mut builder = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)?
            .set_client_to_redis_protocol(ProtocolVersion::RESP3)
            .set_client_to_redis_tcp_settings(tcp())
            .set_client_to_sentinel_tcp_settings(tcp());
        if let Some(first) = first {
            let settings = first.redis_settings();
            builder = builder.set_client_to_redis_db(settings.db());
            if let Some(user) = settings.username() {
                builder = builder.set_client_to_redis_username(user);
            }
            if let Some(password) = settings.password() {
                builder = builder.set_client_to_redis_password(password);
            }
            #[cfg(feature = "tls")]
            if matches!(first.addr(), redis::ConnectionAddr::TcpTls { .. }) {
                provide_cryptography();
                builder = builder
                    .set_client_to_redis_tls_mode(redis::TlsMode::Secure)
                    .set_client_to_redis_certificates(tls.certificates())
                    .set_client_to_sentinel_tls_mode(redis::TlsMode::Secure)
                    .set_client_to_sentinel_certificates(tls.certificates());
            }
        }
        let _ = tls;
        Ok(Self::Sentinel(Box::new(tokio::sync::Mutex::new(builder.build()?))))
    }

    /// How long [`open`](Self::open) may take.
    pub(crate) fn patience(&self) -> Duration {
        match self {
            Self::Server(_) => PATIENCE,
            // They ask several.
            #[cfg(feature = "cluster")]
            Self::Cluster(..) => PATIENCE * 4,
            #[cfg(feature = "sentinel")]
            Self::Sentinel(_) => PATIENCE * 4,
        }
    }

    /// A new connection.
    pub(crate) async fn open(
        &self,
        heard: impl Fn(PushInfo) -> RedisResult<()> + Send + Sync + 'static,
    ) -> RedisResult<Connection> {
        // Who calls sees to how long a command may take.
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(None);
        match self {
            Self::Server(client) => {
                let config = config.set_push_sender(heard);
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Server)
            }
            #[cfg(feature = "cluster")]
            Self::Cluster(nodes, tls) => {
                let builder = redis::cluster::ClusterClientBuilder::new(nodes.clone())
                    .use_protocol(ProtocolVersion::RESP3)
                    .tcp_settings(tcp())
                    .connection_timeout(PATIENCE)
                    .response_timeout(PATIENCE)
                    .retries(3)
                    .push_sender(heard);
                #[cfg(feature = "tls")]
                let builder = if nodes.iter().any(|node| matches!(node.addr(), redis::ConnectionAddr::TcpTls { .. })) {
                    builder.certs(tls.certificates())
                } else {
                    builder
                };
                let _ = tls;
                builder.build()?.get_async_connection().await.map(Connection::Cluster)
            }
            #[cfg(feature = "sentinel")]
            Self::Sentinel(client) => {
                let config = config.set_push_sender(heard);
                client.lock().await.get_async_connection_with_config(&config).await.map(Connection::Server)
            }
        }
    }
}

/// rustls does its cryptography with ring, unless the process has chosen something else.
#[cfg(feature = "tls")]
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was quicker.
        _ = rustls::crypto::ring::default_provider().install_default();
    }
}
