//! A client of one connection.

use std::net::SocketAddr;

use axum::http::Request;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::BoxError;

pub(crate) struct Client {
    address: SocketAddr,
    sender: SendRequest<Empty<Bytes>>,
}

/// An answer that has been read to its end.
pub(crate) struct Answer {
    /// What `x-cache` said.
    pub(crate) way: String,
    pub(crate) text: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, BoxError> {
        let stream = TokioIo::new(TcpStream::connect(address).await?);
        let (sender, connection) = handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { address, sender })
    }

    fn request(&self, path: &str, user: &str) -> Result<Request<Empty<Bytes>>, BoxError> {
        let request = Request::get(path).header("host", self.address.to_string()).header("x-user", user);
        Ok(request.body(Empty::new())?)
    }

    /// The body, which may still be on its way.
    pub(crate) async fn begin(&mut self, path: &str, user: &str) -> Result<Incoming, BoxError> {
        Ok(self.sender.send_request(self.request(path, user)?).await?.into_body())
    }

    pub(crate) async fn get(&mut self, path: &str, user: &str) -> Result<Answer, BoxError> {
        let response = self.sender.send_request(self.request(path, user)?).await?;
        let way = response.headers().get("x-cache").and_then(|way| way.to_str().ok()).unwrap_or("none").to_owned();
        let text = String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?;
        Ok(Answer { way, text })
    }
}
