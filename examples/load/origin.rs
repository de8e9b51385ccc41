//! The origin: an `SQLite` file with prices. It can be told to fail or to take its time, and counts the queries that reach it.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use stampede::CircuitOpen;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::BoxError;

const ITEMS: u32 = 1_000;

/// What is cached. The edition says how often there had been new prices: which of two answers is older.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Price {
    pub(crate) cents: u32,
    pub(crate) edition: u64,
}

/// Why there is no price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The origin was told to fail.
    Down,
    /// The breaker is open.
    LeftAlone,
    /// Nobody has asked for this.
    Broken(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("the origin is down"),
            Self::LeftAlone => f.write_str("the breaker is open"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Fault {}

impl From<CircuitOpen> for Fault {
    fn from(_: CircuitOpen) -> Self {
        Self::LeftAlone
    }
}

/// The file. It goes with its last handle, at the latest.
#[derive(Clone)]
pub(crate) struct Shop(Arc<File>);

struct File {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl Drop for File {
    fn drop(&mut self) {
        self.remove();
    }
}

impl File {
    fn remove(&self) {
        let _ = fs::remove_file(&self.path); // what is left is in the directory for temporary files
    }
}

impl Shop {
    pub(crate) fn create() -> Result<Self, BoxError> {
        let path = std::env::temp_dir().join(format!("stampede-load-{}.db", std::process::id()));
        let connection = Connection::open(&path)?;
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = OFF;
             PRAGMA synchronous = OFF;
             CREATE TABLE prices (item INTEGER PRIMARY KEY, cents INTEGER NOT NULL);
             CREATE TABLE editions (cache TEXT NOT NULL, item INTEGER NOT NULL, edition INTEGER NOT NULL,
                                    PRIMARY KEY (cache, item));
             WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ITEMS})
             INSERT INTO prices SELECT i, 100 + i * 7 FROM n;"
        ))?;
        Ok(Self(Arc::new(File { connection: Mutex::new(connection), path })))
    }

    /// Removes the file, whoever still has a handle.
    pub(crate) fn remove(&self) {
        self.0.remove();
    }

    async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let file = Arc::clone(&self.0);
        let broken = |error: &dyn fmt::Display| Fault::Broken(error.to_string());
        let answer = spawn_blocking(move || act(&file.connection.lock().unwrap_or_else(PoisonError::into_inner)));
        answer.await.map_err(|error| broken(&error))?.map_err(|error| broken(&error))
    }
}

/// How the origin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    /// Queries come to an error.
    Fails,
    /// Queries that have begun wait until the mood is another one.
    Held,
}

/// The origin as one cache sees it: what it has been asked, and its mood.
#[derive(Clone)]
pub(crate) struct Origin(Arc<Inner>);

struct Inner {
    shop: Shop,
    cache: &'static str,
    takes: Duration,
    mood: watch::Sender<Mood>,
    queries: AtomicU64,
    running: AtomicU64,
}

/// A query under way: also one that is dropped ends.
struct Running<'o>(&'o AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Origin {
    pub(crate) fn new(shop: &Shop, cache: &'static str, takes: Duration) -> Self {
        let (queries, running) = (AtomicU64::new(0), AtomicU64::new(0));
        let mood = watch::Sender::new(Mood::Fine);
        Self(Arc::new(Inner { shop: shop.clone(), cache, takes, mood, queries, running }))
    }

    /// The price of an item, which is one query.
    pub(crate) async fn price(&self, item: u32) -> Result<Price, Fault> {
        let Inner { shop, cache, takes, mood, queries, running } = &*self.0;
        queries.fetch_add(1, Ordering::Relaxed);
        running.fetch_add(1, Ordering::Relaxed);
        let _running = Running(running);
        let mut mood = mood.subscribe();
        let is = mood.wait_for(|mood| *mood != Mood::Held).await.map_or(Mood::Fine, |mood| *mood);
        let cache = *cache;
        let sql = "SELECT cents, IFNULL((SELECT edition FROM editions WHERE cache = ?1 AND item = ?2), 0)
                   FROM prices WHERE item = ?2";
        let read = move |db: &Connection| {
            db.prepare_cached(sql)?.query_row((cache, item), |row| {
                let edition: i64 = row.get(1)?;
                Ok(Price { cents: row.get(0)?, edition: edition.unsigned_abs() })
            })
        };
        let answer = if is == Mood::Fails { Err(Fault::Down) } else { shop.with(read).await };
        if !takes.is_zero() {
            tokio::time::sleep(*takes).await; // a bigger database, farther away
        }
        answer
    }

    /// There is a new edition of an item, and this is its number.
    pub(crate) async fn publish(&self, item: u32) -> Result<u64, Fault> {
        let cache = self.0.cache;
        let sql = "INSERT INTO editions VALUES (?1, ?2, 1)
                   ON CONFLICT DO UPDATE SET edition = edition + 1 RETURNING edition";
        let write = move |db: &Connection| db.prepare_cached(sql)?.query_row((cache, item), |row| row.get::<_, i64>(0));
        Ok(self.0.shop.with(write).await?.unsigned_abs())
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.0.mood.send_replace(mood);
    }

    /// How many queries have begun.
    pub(crate) fn queries(&self) -> u64 {
        self.0.queries.load(Ordering::Relaxed)
    }

    /// How many are under way.
    pub(crate) fn running(&self) -> u64 {
        self.0.running.load(Ordering::Relaxed)
    }

    pub(crate) fn cache(&self) -> &'static str {
        self.0.cache
    }
}
