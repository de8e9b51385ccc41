//! A TCP proxy that cuts, holds up, swallows and corrupts what goes through it.

#![allow(dead_code, reason = "two test programs have it, and neither uses all of it")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Mode {
    Pass,
    /// Answers come so much later.
    Delay(Duration),
    /// Nothing gets through, and nobody is told.
    Swallow,
    /// Connections end, old and new ones.
    Cut,
    /// The server's bytes that are this one become another.
    Corrupt(u8),
    /// The server's bytes become nonsense.
    Babble,
    /// What goes to the server waits until the mode is another one.
    HoldQuestions,
    /// What comes from the server waits until the mode is another one.
    HoldAnswers,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    mode: tokio::sync::watch::Sender<Mode>,
    _tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Proxy {
    pub(crate) async fn of(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = tokio::sync::watch::Sender::new(Mode::Pass);
        let tasks = Arc::new(Mutex::new(JoinSet::new()));
        let (modes, inner) = (mode.clone(), tasks.clone());
        tasks.lock().unwrap().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *modes.borrow() == Mode::Cut {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let mut tasks = inner.lock().unwrap();
                tasks.spawn(pump(from_client, to_server, modes.clone(), false));
                tasks.spawn(pump(from_server, to_client, modes.clone(), true));
            }
        });
        Self { port, mode, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    modes: tokio::sync::watch::Sender<Mode>,
    is_answer: bool,
) {
    let mut mode = modes.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(len) if len > 0 => len,
                _ => return,
            },
            _ = mode.wait_for(|mode| *mode == Mode::Cut) => return,
        };
        let now = *mode.borrow();
        match now {
            Mode::Delay(time) if is_answer => tokio::time::sleep(time).await,
            Mode::Swallow => continue,
            Mode::Corrupt(byte) if is_answer => {
                buffer[..len].iter_mut().filter(|found| **found == byte).for_each(|found| *found ^= 1);
            }
            Mode::Babble if is_answer => buffer[..len].fill(b'?'),
            Mode::HoldQuestions if !is_answer => _ = mode.wait_for(|mode| *mode != Mode::HoldQuestions).await,
            Mode::HoldAnswers if is_answer => _ = mode.wait_for(|mode| *mode != Mode::HoldAnswers).await,
            _ => {}
        }
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}
