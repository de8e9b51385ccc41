//! The Redis: a process of the example's own, on a free port, with nothing on disk.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::BoxError;

pub(crate) struct Server {
    pub(crate) port: u16,
    process: Child,
}

impl Server {
    pub(crate) fn start() -> Result<Self, BoxError> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self { port, process: launch(port)? })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) -> Result<(), BoxError> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// After [`kill`](Self::kill): on the same port, empty.
    pub(crate) fn start_again(&mut self) -> Result<(), BoxError> {
        self.process = launch(self.port)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill(); // it may have been killed before
    }
}

/// Starts it, and waits until it listens.
fn launch(port: u16) -> Result<Child, BoxError> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => "this example needs `redis-server` (7.0 or later): install it, with \
                                `apt-get install redis-server` for example"
                .into(),
            _ => BoxError::from(error),
        })?;
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = process.try_wait()? {
            return Err(format!("redis-server ended at once, with {status}").into());
        }
        if started.elapsed() > Duration::from_secs(10) {
            process.kill()?;
            return Err("redis-server does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(process)
}
