//! The controller's memory, and the only place for SQL. Domain types in and out; every file under
//! `store/` keeps its own rows to itself. One connection writes, under a lock; a pool of others
//! only reads. What takes effect is appended to the audit log in the same transaction, before it.
#![expect(clippy::disallowed_types, reason = "the only place for SQL")]

mod certificates;
mod copy;
mod decisions;
mod drift;
mod exceptions;
mod fleet;
mod history;
mod hosts;
mod inventory;
mod log;
mod pauses;
mod receipts;
mod tokens;

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::Duration,
};

use muster_proto::{
    envelope::{Document, Envelope},
    id::Digest,
    link::LogHead,
    time::Timestamp,
};
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;

use crate::audit::{self, Log};

pub use certificates::CertificateRefused;
pub use copy::Damage;
pub use drift::{DriftCount, DriftPage, DriftQuery, FoundDrift, KEPT_DRIFT};
pub use exceptions::Item;
pub use fleet::SentTo;
pub use receipts::{FoundBreak, RECEIPT_PAGE, ReceiptPage, StoredReceipt, show_break};
pub use tokens::{NewHost, Token, TokenRefused};

/// The database's file in the data directory.
pub const FILE: &str = "muster.db";
/// `Must`, in the file's header, so that nothing else is taken for ours.
const APPLICATION_ID: i64 = 0x4d75_7374;
const READERS: u32 = 4;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// The controller's memory.
#[derive(Clone, Debug)]
pub struct Store {
    lineage: Digest,
    readers: SqlitePool,
    writer: Arc<Mutex<SqlitePool>>,
    log: Arc<RwLock<Log>>,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is something already.
    #[error("`{0}` holds a fleet's data already; nothing was changed")]
    Exists(PathBuf),
    /// There is nothing.
    #[error("`{0}` holds no fleet's data")]
    Absent(PathBuf),
    /// It belongs to something else.
    #[error("`{0}` is not a database of this program; nothing was changed")]
    Foreign(PathBuf),
    /// Whoever made it was stopped.
    #[error("`{0}` was never made to the end and holds no fleet")]
    Unfinished(PathBuf),
    /// It cannot even be looked at.
    #[error("cannot look at `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database failed.
    #[error("cannot {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: sqlx::Error,
    },
    /// The tables could not be made or brought up to date.
    #[error("cannot bring the tables of `{path}` up to date")]
    Migration {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// What was stored does not read back.
    #[error("the store's {what} does not read back")]
    Corrupt {
        /// What of it.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError::Database { doing, source }
}

fn corrupt<E>(what: &'static str) -> impl Fn(E) -> StoreError
where
    E: Error + Send + Sync + 'static,
{
    move |source| StoreError::Corrupt { what, source: Box::new(source) }
}

/// Says whether there is a file; one that cannot be looked at is neither there nor not.
fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|source| StoreError::File { path: path.to_owned(), source })
}

/// `SQLite` keeps signed numbers; ours never reach its last one.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn time(seconds: i64) -> Timestamp {
    Timestamp(unsigned(seconds))
}

fn digest(bytes: &[u8], what: &'static str) -> Result<Digest, StoreError> {
    Digest::parse(bytes).map_err(corrupt(what))
}

fn envelope(bytes: &[u8], what: &'static str) -> Result<Envelope, StoreError> {
    Envelope::decode(bytes).map_err(corrupt(what))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
}

impl Store {
    /// Makes a store in a directory that has none, beginning with trust root 1.
    pub async fn create(
        directory: &Path,
        trust_root: &Envelope,
        entry: &audit::Entry,
    ) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        if exists(&path)? {
            return Err(StoreError::Exists(path));
        }
        let lineage = trust_root.digest();
        let writer = connect_writer(options(&path).create_if_missing(true)).await?;
        sqlx::query("PRAGMA application_id = 1299542900")
            .execute(&writer)
            .await
            .map_err(failed("mark the database"))?;
        migrate(&writer, &path).await?;
        let store = Self::assemble(lineage, writer, &path, Log::first(lineage)).await?;
        let mut change = store.begin().await?;
        sqlx::query("INSERT INTO fleet (one, lineage, created) VALUES (1, $1, $2)")
            .bind(lineage.as_bytes().as_slice())
            .bind(signed(entry.time.0))
            .execute(&mut *change.tx)
            .await
            .map_err(failed("store the lineage"))?;
        let place = change.append(entry).await?;
        change.insert_trust_root(1, place, trust_root).await?;
        change.commit().await?;
        Ok(store)
    }

    /// Opens the store in a directory; one that belongs to something else is left as it is.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        if !exists(&path)? {
            return Err(StoreError::Absent(directory.to_owned()));
        }
        check_ours(&path).await?;
        let writer = connect_writer(options(&path)).await?;
        migrate(&writer, &path).await?;
        let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT lineage FROM fleet")
            .fetch_optional(&writer)
            .await
            .map_err(failed("read the lineage"))?;
        let Some((lineage,)) = row else { return Err(StoreError::Unfinished(path)) };
        let lineage = digest(&lineage, "lineage")?;
        let log = log::load(&writer, lineage).await?;
        Self::assemble(lineage, writer, &path, log).await
    }

    async fn assemble(
        lineage: Digest,
        writer: SqlitePool,
        path: &Path,
        log: Log,
    ) -> Result<Self, StoreError> {
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options(path).read_only(true))
            .await
            .map_err(failed("open the database for reading"))?;
        Ok(Self {
            lineage,
            readers,
            writer: Arc::new(Mutex::new(writer)),
            log: Arc::new(RwLock::new(log)),
        })
    }

    /// Returns the digest of trust root 1.
    pub fn lineage(&self) -> Digest {
        self.lineage
    }

    /// Returns the head of the audit log that is written to.
    pub fn head(&self) -> LogHead {
        self.log().head()
    }

    fn log(&self) -> Log {
        self.log.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Returns once both the readers and the writer have answered.
    pub async fn answer(&self) -> Result<(), StoreError> {
        let doing = failed("ask the database");
        let _: i64 =
            sqlx::query_scalar("SELECT 1").fetch_one(&self.readers).await.map_err(&doing)?;
        let writer = self.writer.lock().await;
        let _: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&*writer).await.map_err(&doing)?;
        Ok(())
    }

    /// Writes everything out and closes the connections.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.lock().await.close().await;
    }

    /// Begins a transaction that writes; there is one at a time.
    async fn begin(&self) -> Result<Change<'_>, StoreError> {
        let guard = self.writer.lock().await;
        let tx =
            guard.begin_with("BEGIN IMMEDIATE").await.map_err(failed("begin a transaction"))?;
        Ok(Change { store: self, tx, log: self.log(), _guard: guard })
    }
}

/// A transaction, and the log as it will be.
struct Change<'a> {
    store: &'a Store,
    tx: Transaction<'static, Sqlite>,
    log: Log,
    _guard: tokio::sync::MutexGuard<'a, SqlitePool>,
}

impl Change<'_> {
    async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await.map_err(failed("commit a transaction"))?;
        let mut log = self.store.log.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *log = self.log;
        Ok(())
    }
}

async fn connect_writer(options: SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .map_err(failed("open the database"))
}

async fn migrate(writer: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let migration = |source| StoreError::Migration { path: path.to_owned(), source };
    MIGRATIONS.run(writer).await.map_err(migration)
}

/// Looks without touching: a database of something else is not even switched to another journal.
async fn check_ours(path: &Path) -> Result<(), StoreError> {
    let doing = failed("look at the database");
    let look = SqliteConnectOptions::new().filename(path).read_only(true);
    let pool =
        SqlitePoolOptions::new().max_connections(1).connect_with(look).await.map_err(&doing)?;
    let found: Result<i64, _> = sqlx::query_scalar("PRAGMA application_id").fetch_one(&pool).await;
    pool.close().await;
    match found.map_err(doing)? {
        APPLICATION_ID => Ok(()),
        _ => Err(StoreError::Foreign(path.to_owned())),
    }
}
