//! Clients that do not behave, and a handler that does not, at a server on a real socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::channel::Channel;
use stampede::http::CacheLayer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::BoxError;
use crate::callers::Desk;
use crate::client::{Answer, Client};
use crate::lab::{Finding, Lab};
use crate::origin::{Fault, Mood, Origin};

const CLIENTS: u32 = 50;
const USERS: u32 = 20;
/// How long a client waits for what should come.
const PATIENCE: Duration = Duration::from_secs(10);

async fn price(State(origin): State<Origin>, Path(item): Path<u32>) -> Result<String, (StatusCode, String)> {
    let price = origin.price(item).await.map_err(|fault| failed(&fault))?;
    Ok(format!("{} {}", price.cents, price.edition))
}

async fn publish(State(origin): State<Origin>, Path(item): Path<u32>) -> Result<String, (StatusCode, String)> {
    Ok(origin.publish(item).await.map_err(|fault| failed(&fault))?.to_string())
}

fn failed(fault: &Fault) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, fault.to_string())
}

/// What concerns nobody but who asks.
async fn me(headers: HeaderMap) -> impl IntoResponse {
    tokio::time::sleep(Duration::from_millis(20)).await; // so that others are waiting
    let user = headers.get("x-user").and_then(|user| user.to_str().ok()).unwrap_or("nobody");
    ([(header::CACHE_CONTROL, "private")], format!("hello {user}"))
}

/// A body that breaks off in the middle, if the origin fails.
async fn long(State(origin): State<Origin>) -> Body {
    let (mut pieces, body) = Channel::<Bytes, Fault>::new(1);
    tokio::spawn(async move {
        for piece in ["one ", "two ", "three"] {
            if piece == "three" && origin.price(0).await.is_err() {
                return pieces.abort(Fault::Down);
            }
            if pieces.send_data(piece.into()).await.is_err() {
                return;
            }
        }
    });
    Body::new(body)
}

/// The server; dropped, it is gone.
struct Server {
    address: SocketAddr,
    desk: Desk,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    async fn start(desk: Desk) -> Result<Self, BoxError> {
        let app = Router::new()
            .route("/price/{item}", get(price).post(publish))
            .route("/me", get(me))
            .route("/long", get(long))
            .layer(CacheLayer::new(Duration::from_mins(10)).name("http").x_cache(true))
            .with_state(desk.origin().clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { address, desk, serving })
    }

    /// A client that behaves.
    fn get(&self, path: &str, user: &str) -> impl Future<Output = Result<Answer, BoxError>> + Send + 'static {
        let (address, desk) = (self.address, self.desk.clone());
        let (path, user) = (path.to_owned(), user.to_owned());
        async move {
            let began = Instant::now();
            let asking = async { Client::connect(address).await?.get(&path, &user).await };
            let answer = tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err("no answer".into()));
            desk.note(began.elapsed(), answer.as_ref().err());
            answer
        }
    }

    /// A client that says this, and nothing else.
    async fn say(&self, what: &str) -> Result<TcpStream, BoxError> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(what.as_bytes()).await?;
        Ok(stream)
    }

    /// What the server answers to it.
    async fn answer_to(&self, what: &str) -> Result<String, BoxError> {
        let mut stream = self.say(what).await?;
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
        Ok(answer)
    }
}

pub(super) async fn misbehaviour(lab: Arc<Lab>) -> Result<Finding, BoxError> {
    let server = Server::start(lab.desk("http")).await?;
    // They stay to the end: half a request, nonsense, and one who reads nothing of what it asked for.
    let mut bad = Vec::new();
    for _ in 0..CLIENTS {
        bad.push(server.say("GET /price/0 HTTP/1.1\r\nhost: x\r\nx-ha").await?);
        bad.push(server.say("\u{16}\u{3}\u{1} PRI * nonsense\r\n\r\n").await?);
        bad.push(server.say("GET /me HTTP/1.1\r\nhost: x\r\n\r\n").await?);
    }
    let mut lazy = Client::connect(server.address).await?;
    let unread = lazy.begin("/price/999", "").await?;
    let mut finding = Finding::new();
    let rounds = lab.rounds();
    let mut sum = Sum::default();
    for round in 0..rounds {
        hang_up(&lab, &server, round, &mut sum).await?;
        break_off(&server, round, &mut sum).await?;
        let mut users = JoinSet::new();
        for user in 0..USERS {
            let (user, asking) = (user.to_string(), server.get("/me", &user.to_string()));
            users.spawn(async move { asking.await.is_ok_and(|answer| answer.text == format!("hello {user}")) });
        }
        sum.own += users.join_all().await.iter().filter(|is_own| **is_own).count();
        heads_and_posts(&server, round, &mut sum).await?;
        lab.round_is_over(round).await;
    }
    drop((bad, lazy, unread));
    let per_round = |count: u32| (count * rounds) as usize;
    let Sum { runs, whole, cut, later, own, heads } = sum;
    finding.check(
        runs == u64::from(rounds) && whole == per_round(CLIENTS - 1),
        format!("the first of {CLIENTS} hung up: {whole} answers of {runs} runs in {rounds} rounds"),
    );
    finding.check(cut == 0 && later == per_round(1), format!("{cut} took a body that broke off for a whole one"));
    finding.check(own == per_round(USERS), format!("{own} of {} users saw their own page", per_round(USERS)));
    finding.check(heads == per_round(1), format!("{heads} times HEAD harmed no GET, and POST voided it"));
    Ok(finding)
}

#[derive(Default)]
struct Sum {
    runs: u64,
    whole: usize,
    cut: usize,
    later: usize,
    own: usize,
    heads: usize,
}

/// The client that began the run leaves in the middle of it.
async fn hang_up(lab: &Lab, server: &Server, round: u32, sum: &mut Sum) -> Result<(), BoxError> {
    let origin = server.desk.origin();
    let (before, path) = (origin.queries(), format!("/price/{}", 3 * round));
    origin.set(Mood::Held);
    let first = server.say(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", server.address)).await?;
    lab.until_waiting(&server.desk, 1).await?;
    let mut others = JoinSet::new();
    for _ in 1..CLIENTS {
        others.spawn(server.get(&path, ""));
    }
    lab.until_waiting(&server.desk, CLIENTS).await?;
    drop(first);
    lab.until_waiting(&server.desk, CLIENTS - 1).await?;
    origin.set(Mood::Fine);
    let expected = format!("{} 0", 100 + 3 * round * 7);
    let answers = others.join_all().await;
    sum.whole += answers.iter().flatten().filter(|answer| answer.text == expected).count();
    sum.runs += origin.queries() - before;
    Ok(())
}

/// The handler dies in the body; then it is well again.
async fn break_off(server: &Server, round: u32, sum: &mut Sum) -> Result<(), BoxError> {
    let (origin, path) = (server.desk.origin(), format!("/long?{round}"));
    origin.set(Mood::Fails);
    server.desk.mean_errors(true);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(server.get(&path, ""));
    }
    sum.cut += clients.join_all().await.iter().filter(|answer| answer.is_ok()).count();
    origin.set(Mood::Fine);
    server.desk.mean_errors(false);
    sum.later += usize::from(server.get(&path, "").await?.text == "one two three");
    Ok(())
}

/// A HEAD comes first, and a POST in between.
async fn heads_and_posts(server: &Server, round: u32, sum: &mut Sum) -> Result<(), BoxError> {
    let (path, cents) = (format!("/price/{}", 3 * round + 1), 100 + (3 * round + 1) * 7);
    let rest = format!("{path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", server.address);
    let head = server.answer_to(&format!("HEAD {rest}")).await?;
    let old = server.get(&path, "").await?.text;
    let posted = server.answer_to(&format!("POST {rest}")).await?;
    let new = server.get(&path, "").await?;
    let well = head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n") && posted.ends_with("\r\n\r\n1");
    sum.heads +=
        usize::from(well && old == format!("{cents} 0") && new.text == format!("{cents} 1") && new.way == "MISS");
    Ok(())
}
