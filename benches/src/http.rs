//! A response of one KiB from the store, next to a handler that gives the same from a constant: what a request over a
//! keep-alive connection costs the server, in instructions (by callgrind, which counts the same each time) and in time.
//!
//! The server is this program again, in a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use stampede::http::CacheLayer;
use tokio::net::TcpListener;

use crate::Effort;
use crate::harness::{Contender, Figure, Limit, Measure, Target};

const CONSTANT: &str = "a constant handler";
const CACHED: &str = "behind CacheLayer";

static PAGE: &str = match std::str::from_utf8(&[b'x'; 1024]) {
    Ok(page) => page,
    Err(_) => "",
};

pub(crate) fn measures(effort: Effort) -> Vec<Measure<'static>> {
    let requests = if effort.quick { 300 } else { 1000 };
    let contenders = |round: fn(&'static str, u32) -> Vec<f64>, arg| {
        [CONSTANT, CACHED].map(|name| Contender::new(name, move || round(name, arg))).into()
    };
    let wrk = |title, connections| Measure {
        title,
        figures: vec![
            Figure::lower("p50 µs").undisturbed(),
            Figure::lower("p99 µs").undisturbed(),
            Figure::higher("requests/s").undisturbed(),
        ],
        peer: CONSTANT,
        rounds: if effort.quick { 5 } else { 15 },
        contenders: contenders(latencies, connections),
        targets: vec![Target::new("HTTP", CACHED, 1, Limit::Ratio(CONSTANT, 1.1))],
    };
    vec![
        Measure {
            title: "http: instructions of the server for a response of 1 KiB",
            figures: vec![Figure::lower("instructions")],
            peer: CONSTANT,
            rounds: if effort.quick { 1 } else { 3 },
            contenders: contenders(instructions, requests),
            targets: vec![Target::new("HTTP", CACHED, 0, Limit::Ratio(CONSTANT, 1.1))],
        },
        wrk("http, 1 connection: what one request takes, by wrk on loopback; better quartiles", 1),
        wrk("http, 32 connections: both servers are never idle, so it is throughput; better quartiles", 32),
    ]
}

/// Serves until its standard input ends; `name` is that of a contender.
pub(crate) fn serve(name: &str) {
    let page = || async { ([(CONTENT_TYPE, "text/plain")], PAGE) };
    let app = Router::new().route("/page", get(page));
    let app = if name == CACHED { app.layer(CacheLayer::new(Duration::from_hours(1))) } else { app };
    // One thread: callgrind knows no more, and wrk needs the others.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("an address"));
        let served = tokio::spawn(async move { axum::serve(listener, app).await });
        let stdin = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        stdin.await.expect("a task").expect("an end");
        served.abort();
    });
}

/// A server, under another program or not.
struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(name: &str, under: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = match under {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        let command = command.args(["--serve-http", name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.stderr(Stdio::piped()).spawn().expect("valgrind is installed: `cargo xtask bench` does");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("an output")).read_line(&mut line).expect("an address");
        Self { child, addr: line.trim().parse().expect("an address") }
    }

    /// Ends it. What it has said besides.
    fn stop(mut self) -> String {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().expect("an end");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// What one request more costs, by the difference of two runs.
#[expect(clippy::cast_precision_loss, reason = "read to three digits")]
fn instructions(name: &'static str, requests: u32) -> Vec<f64> {
    let total = |requests| {
        let server = Server::start(name, &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        // Two connections, in turns.
        let mut clients = [(); 2].map(|()| TcpStream::connect(server.addr).expect("a connection"));
        for n in 0..requests {
            ask(&mut clients[n as usize % 2]);
        }
        drop(clients);
        let said = server.stop();
        let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<u64>().ok());
        collected.unwrap_or_else(|| panic!("callgrind says what it has counted: {said}"))
    };
    let (few, many) = (total(requests), total(3 * requests));
    vec![(many - few) as f64 / f64::from(2 * requests)]
}

/// One request, and its response to the last byte.
fn ask(client: &mut TcpStream) {
    client.write_all(b"GET /page HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n").expect("a request");
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let len = client.read(&mut buffer).expect("a response");
        assert_ne!(len, 0, "a response");
        read.extend_from_slice(&buffer[..len]);
        let head = read.windows(4).position(|end| end == b"\r\n\r\n");
        if head.is_some_and(|head| read.len() == head + 4 + PAGE.len()) {
            return;
        }
    }
}

/// One second of wrk. With one connection it waits for each answer before it asks again. With many, some request is always
/// waiting for the server: how long each of them takes is then what all before it cost, the throughput over again.
fn latencies(name: &'static str, connections: u32) -> Vec<f64> {
    let server = Server::start(name, &[]);
    let url = format!("http://{}/page", server.addr);
    let connections = format!("-c{connections}");
    let output = Command::new("wrk").args(["-t1", &connections, "-d1s", "--latency", &url]).output();
    let output = output.expect("wrk is installed: `cargo xtask bench` does");
    server.stop();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = |label: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(label));
        line.map_or_else(|| panic!("wrk says {label}: {said}"), |line| line.trim().to_owned())
    };
    vec![micros(&word("50%")), micros(&word("99%")), word("Requests/sec:").parse().expect("a number")]
}

/// A time as wrk writes it.
fn micros(text: &str) -> f64 {
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).expect("a unit");
    let number: f64 = text[..unit].parse().expect("a number");
    match &text[unit..] {
        "us" => number,
        "ms" => number * 1e3,
        _ => number * 1e6,
    }
}
