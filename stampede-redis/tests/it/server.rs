//! Redis servers of the tests' own, each on a free port, in a directory of its own, gone with its handle.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to do what it is told.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) dir: PathBuf,
    options: Vec<String>,
    child: Option<Child>,
    password: Option<&'static str>,
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    // Above it there must be room for a Cluster's bus.
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 {
            return port;
        }
    }
}

/// A directory that no other test uses.
pub(crate) fn fresh_dir() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("stampede-redis-{}-{count}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With options of the command line, beyond those that make it small and forgetful.
    pub(crate) fn with(options: &[&str]) -> Self {
        Self::build(options, None)
    }

    pub(crate) fn with_password(password: &'static str) -> Self {
        Self::build(&["--requirepass", password], Some(password))
    }

    fn build(options: &[&str], password: Option<&'static str>) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut server = Self { port: free_port(), dir: fresh_dir(), options, child: None, password };
        // Somebody else may take the port first.
        while !server.spawn("redis-server") {
            server.port = free_port();
        }
        server
    }

    /// A program that reads its configuration from a file in its directory.
    #[cfg(feature = "sentinel")]
    pub(crate) fn of_file(program: &str, port: u16, dir: PathBuf) -> Self {
        let mut server = Self { port, dir, options: vec!["own.conf".to_owned()], child: None, password: None };
        assert!(server.spawn(program), "{program} does not start");
        server
    }

    /// One that is to become a node of a Cluster.
    #[cfg(feature = "cluster")]
    pub(crate) fn of_cluster() -> Self {
        Self::with(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"])
    }

    /// One that speaks TLS alone, on its port.
    #[cfg(feature = "tls")]
    pub(crate) fn with_tls(options: &[&str]) -> Self {
        let port = free_port();
        let tls = port.to_string();
        let mut all = vec!["--tls-port", &tls, "--port", "0"];
        all.extend(options);
        let options = all.into_iter().map(str::to_owned).collect();
        let mut server = Self { port, dir: fresh_dir(), options, child: None, password: None };
        assert!(server.spawn("redis-server"), "redis-server does not start with TLS");
        server
    }

    /// Starts it, empty, where it was. Says whether it answers.
    fn spawn(&mut self, program: &str) -> bool {
        let mut command = Command::new(program);
        if self.options.first().is_none_or(|first| first.starts_with("--")) {
            command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            command.args(["--loglevel", "warning"]);
        }
        command.args(&self.options).current_dir(&self.dir).stdin(Stdio::null()).stdout(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server is installed"));
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Ok(Some(_)) = self.child.as_mut().unwrap().try_wait() {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    pub(crate) fn url(&self) -> String {
        match self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = child.kill();
            _ = child.wait();
        }
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        assert!(self.spawn("redis-server"), "redis-server does not start again");
    }

    /// Stops it in its tracks, as a machine that swaps would.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// A connection for looking behind the tier's back.
    pub(crate) fn client(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// Runs a command and gives its answer.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let mut asked = redis::cmd(command[0]);
        for argument in &command[1..] {
            asked.arg(*argument);
        }
        asked.query(&mut self.client()).unwrap()
    }

    /// What all keys are called.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.ask(&["KEYS", "*"]);
        keys.sort();
        keys
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.resume();
        }
        self.kill();
        _ = std::fs::remove_dir_all(&self.dir);
    }
}
