//! A Prometheus of our own. The test starts one, and so does `cargo xtask pictures`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, io, process};

use serde_json::Value;

/// It ends when it is dropped.
pub(crate) struct Prometheus {
    server: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Prometheus {
    /// One that scrapes `target` at this interval, by what `observability` holds. Each line of its rules is `changed` first.
    pub(crate) fn start(
        observability: &Path,
        target: SocketAddr,
        interval: &str,
        changed: fn(&str) -> String,
    ) -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("stampede-prometheus-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let config = fs::read_to_string(observability.join("prometheus/prometheus.yml"))?;
        let config = config.replace("host.docker.internal:9000", &target.to_string());
        fs::write(folder.join("prometheus.yml"), config.replace(": 5s", &format!(": {interval}")))?;
        let rules = fs::read_to_string(observability.join("prometheus/rules.yml"))?;
        let rules: Vec<_> = rules.lines().map(changed).collect();
        fs::write(folder.join("rules.yml"), rules.join("\n"))?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?; // free again at once
        let server = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log"))?)
            .spawn()?;
        Ok(Self { server, folder, address })
    }

    /// What the API answers; nothing as long as the server is on its way.
    pub(crate) fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let query = parameters.join("&");
        write!(stream, "GET /api/v1/{path}?{query} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

/// Each byte in the spelling of URLs.
fn encoded(text: &str) -> String {
    let digit = |four: u8| char::from_digit(four.into(), 16).unwrap_or_default();
    text.bytes().flat_map(|byte| ['%', digit(byte >> 4), digit(byte & 15)]).collect()
}
