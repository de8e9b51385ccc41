//! A database with a table of orders, and a report that reads all of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use rusqlite::Connection;
use tokio::task::spawn_blocking;

use crate::BoxError;

const ORDERS: u32 = 300_000;

#[derive(Clone)]
pub(crate) struct Orders(Arc<Inner>);

struct Inner {
    database: Mutex<Connection>,
    queries: AtomicUsize,
}

impl Orders {
    pub(crate) fn open() -> Result<Self, BoxError> {
        let database = Connection::open_in_memory()?;
        database.execute_batch(&format!(
            "CREATE TABLE orders (region INTEGER, cents INTEGER);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ORDERS})
             INSERT INTO orders SELECT i * 7919 % 5, i * 104729 % 10000 FROM n;"
        ))?;
        Ok(Self(Arc::new(Inner { database: Mutex::new(database), queries: AtomicUsize::new(0) })))
    }

    /// How often the database was asked.
    pub(crate) fn queries(&self) -> usize {
        self.0.queries.load(Ordering::Relaxed)
    }

    /// Sales by region. A failure is a 500, which is shared with those who wait, and not stored.
    pub(crate) async fn report(self) -> Result<String, (StatusCode, String)> {
        let failed = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, error);
        let report = spawn_blocking(move || self.query()).await.map_err(|error| failed(error.to_string()))?;
        report.map_err(|error| failed(error.to_string()))
    }

    fn query(&self) -> rusqlite::Result<String> {
        self.0.queries.fetch_add(1, Ordering::Relaxed);
        let database = self.0.database.lock().unwrap_or_else(PoisonError::into_inner);
        let mut query = database.prepare("SELECT region, count(*), sum(cents) FROM orders GROUP BY region")?;
        let rows = query.query_map([], |row| {
            let (region, orders, cents): (u32, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(format!("region {region}: {orders} orders, {}.{:02}\n", cents / 100, cents % 100))
        })?;
        rows.collect()
    }
}
