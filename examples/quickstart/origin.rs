//! The origin: an `SQLite` file with a table of orders, and a query that has to read all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Errors of any kind. Callers that share a failed run all get this error's message and sources.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The table is doubled until one query takes this long, so that it costs about the same on every machine.
const QUERY_COST: Duration = Duration::from_millis(20);
const CONNECTIONS: usize = 2;

/// A handle to the database: cheap to clone, as a connection pool is.
#[derive(Clone)]
pub(crate) struct Shop(Arc<Inner>);

struct Inner {
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    log: Mutex<Vec<Query>>,
    orders: i64,
    query_cost: Duration,
    _file: TempDir, // last, so that the connections are closed before the file goes
}

/// A query that reached the database.
#[derive(Clone, Copy)]
pub(crate) struct Query {
    pub(crate) product: u32,
    pub(crate) at: Instant,
}

impl Shop {
    /// Creates the database in a directory of its own, which goes when the last handle does.
    pub(crate) async fn open() -> Result<Self, BoxError> {
        spawn_blocking(|| {
            let dir = TempDir::create()?;
            let path = dir.0.join("shop.db");
            let (orders, query_cost) = fill(&path)?;
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let idle = (0..CONNECTIONS).map(|_| Connection::open_with_flags(&path, flags)).collect::<Result<_, _>>()?;
            Ok(Self(Arc::new(Inner {
                permits: Arc::new(Semaphore::new(CONNECTIONS)),
                idle: Mutex::new(idle),
                log: Mutex::default(),
                orders,
                query_cost,
                _file: dir,
            })))
        })
        .await?
    }

    /// Which products the customers of this one bought most, asked on a thread for blocking work.
    pub(crate) async fn query_also_bought(&self, product: u32) -> Result<Vec<u32>, BoxError> {
        let permit = Arc::clone(&self.0.permits).acquire_owned().await?;
        let shop = Arc::clone(&self.0);
        spawn_blocking(move || {
            let _permit = permit;
            let connection = lock(&shop.idle).pop().ok_or("a permit stands for a connection")?;
            lock(&shop.log).push(Query { product, at: Instant::now() });
            let answer = also_bought(&connection, product);
            lock(&shop.idle).push(connection);
            Ok(answer?)
        })
        .await?
    }

    /// The queries that reached the database since the log was last cleared.
    pub(crate) fn queries(&self) -> Vec<Query> {
        lock(&self.0.log).clone()
    }

    pub(crate) fn clear_log(&self) {
        lock(&self.0.log).clear();
    }

    pub(crate) fn orders(&self) -> i64 {
        self.0.orders
    }

    /// How long a query takes that has the machine to itself.
    pub(crate) fn query_cost(&self) -> Duration {
        self.0.query_cost
    }
}

fn also_bought(db: &Connection, product: u32) -> rusqlite::Result<Vec<u32>> {
    db.prepare_cached(
        "SELECT product FROM orders
         WHERE customer IN (SELECT customer FROM orders WHERE product = ?1) AND product <> ?1
         GROUP BY product ORDER BY COUNT(*) DESC, product LIMIT 3",
    )?
    .query_map([product], |row| row.get(0))?
    .collect()
}

/// Creates the table and returns its size and what a query on it costs.
fn fill(path: &Path) -> rusqlite::Result<(i64, Duration)> {
    let db = Connection::open(path)?;
    db.execute_batch(
        "PRAGMA journal_mode = OFF;
         PRAGMA synchronous = OFF;
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, product INTEGER);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
         INSERT INTO orders (customer, product) SELECT abs(random() % 5000), abs(random() % 100) FROM n;",
    )?;
    loop {
        let mut query_cost = Duration::MAX;
        for product in 0..3 {
            let started = Instant::now();
            also_bought(&db, product)?;
            query_cost = query_cost.min(started.elapsed());
        }
        if query_cost >= QUERY_COST {
            let orders = db.query_row("SELECT COUNT(*) FROM orders", [], |row| row.get(0))?;
            return Ok((orders, query_cost));
        }
        db.execute("INSERT INTO orders (customer, product) SELECT customer, product FROM orders", [])?;
    }
}

struct TempDir(PathBuf);

impl TempDir {
    fn create() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("stampede-quickstart-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what is left of it is in the directory for temporary files
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
