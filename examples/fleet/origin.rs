//! The origin: an `SQLite` file with prices, which all workers read. It also logs the runs that it has served, so what is
//! counted is what reached it, from whichever process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use tokio::task::spawn_blocking;

use crate::BoxError;

/// The keys: this many items, and the report, which goes by the number 0.
pub(crate) const ITEMS: u32 = 40;
pub(crate) const REPORT: u32 = 0;

/// A handle to the database: cheap to clone.
#[derive(Clone)]
pub(crate) struct Shop(Arc<Inner>);

struct Inner {
    path: PathBuf,
    connection: Mutex<Connection>,
    is_owner: bool,
}

/// A run that reached the database.
pub(crate) struct Run {
    pub(crate) key: u32,
    /// Since 1970: all processes are on one machine.
    pub(crate) at: Duration,
}

impl Shop {
    /// Creates the database, which goes with its last handle in this process.
    pub(crate) fn create() -> Result<Self, BoxError> {
        let path = std::env::temp_dir().join(format!("stampede-fleet-{}.db", std::process::id()));
        let shop = Self::at(&path, true)?;
        shop.lock().execute_batch(&format!(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE prices (item INTEGER PRIMARY KEY, price INTEGER NOT NULL);
             CREATE TABLE runs (key INTEGER NOT NULL, at INTEGER NOT NULL);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ITEMS})
             INSERT INTO prices SELECT i, 100 + i * 7 FROM n;"
        ))?;
        Ok(shop)
    }

    pub(crate) fn open(path: &Path) -> Result<Self, BoxError> {
        Self::at(path, false)
    }

    fn at(path: &Path, is_owner: bool) -> Result<Self, BoxError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch("PRAGMA synchronous = OFF;")?;
        Ok(Self(Arc::new(Inner { path: path.to_owned(), connection: Mutex::new(connection), is_owner })))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// A query, which takes about this long.
    pub(crate) async fn price(&self, item: u32, takes: Duration) -> Result<u64, BoxError> {
        self.query(item, takes, "SELECT price FROM prices WHERE item = ?1").await
    }

    /// What everything costs together.
    pub(crate) async fn total(&self, takes: Duration) -> Result<u64, BoxError> {
        self.query(REPORT, takes, "SELECT SUM(price) FROM prices WHERE ?1 = 0").await
    }

    async fn query(&self, key: u32, takes: Duration, sql: &'static str) -> Result<u64, BoxError> {
        let shop = self.clone();
        let answer = spawn_blocking(move || {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let at = i64::try_from(at.as_millis())?;
            let db = shop.lock();
            db.prepare_cached("INSERT INTO runs VALUES (?1, ?2)")?.execute((key, at))?;
            let answer: i64 = db.prepare_cached(sql)?.query_row([key], |row| row.get(0))?;
            Ok::<_, BoxError>(u64::try_from(answer)?)
        });
        let answer = answer.await??;
        tokio::time::sleep(takes).await; // a bigger database
        Ok(answer)
    }

    pub(crate) fn count(&self) -> Result<u64, BoxError> {
        let count: i64 = self.lock().prepare_cached("SELECT COUNT(*) FROM runs")?.query_row([], |row| row.get(0))?;
        Ok(u64::try_from(count)?)
    }

    /// The runs, in their order.
    pub(crate) fn runs(&self) -> Result<Vec<Run>, BoxError> {
        let db = self.lock();
        let mut rows = db.prepare("SELECT key, at FROM runs ORDER BY at")?;
        let runs = rows.query_map([], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?)))?;
        runs.map(|run| {
            let (key, at) = run?;
            Ok(Run { key, at: Duration::from_millis(u64::try_from(at)?) })
        })
        .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.is_owner {
            for suffix in ["", "-wal", "-shm"] {
                let mut path = self.path.clone().into_os_string();
                path.push(suffix);
                let _ = fs::remove_file(path); // what is left is in the directory for temporary files
            }
        }
    }
}
