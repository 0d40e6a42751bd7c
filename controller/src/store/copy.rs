//! The database as a whole: a consistent copy of it while it is in use, a look at it that changes
//! nothing, and whether it is sound.
#![expect(clippy::disallowed_types, reason = "the only place for SQL")]

use std::{
    path::Path,
    sync::{Arc, RwLock},
};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::sync::Mutex;

use super::{FILE, Store, StoreError, check_ours, digest, exists, failed, log, signed};
use crate::audit::{self, BEGUN, Beginning, Log};

/// How many entries of the log are read at once.
const PAGE: u32 = 1_000;

/// Why a database is not sound.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It cannot even be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database engine finds faults.
    #[error("the database is damaged: {0}")]
    Pages(String),
    /// A row names another that is not there.
    #[error("the database's table `{0}` names what is not there")]
    References(String),
    /// An entry of the audit log is not what its leaf and root say.
    #[error("the audit log does not continue at entry {0}")]
    Log(u64),
}

#[derive(sqlx::FromRow)]
struct EntryRow {
    place: i64,
    leaf: Vec<u8>,
    root: Vec<u8>,
    kind: String,
    salt: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
}

async fn connect(path: &Path) -> Result<SqlitePool, StoreError> {
    SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(SqliteConnectOptions::new().filename(path).read_only(true))
        .await
        .map_err(failed("open the database for reading"))
}

impl Store {
    /// Writes a copy of the database in a directory to a file that is empty, as of one moment, while
    /// whoever serves from it goes on writing.
    pub async fn copy(directory: &Path, to: &Path) -> Result<(), StoreError> {
        let path = directory.join(FILE);
        if !exists(&path)? {
            return Err(StoreError::Absent(directory.to_owned()));
        }
        check_ours(&path).await?;
        let pool = connect(&path).await?;
        let copied = sqlx::query("VACUUM INTO $1")
            .bind(to.to_string_lossy().into_owned())
            .execute(&pool)
            .await
            .map_err(failed("copy the database"));
        pool.close().await;
        copied.map(|_| ())
    }

    /// Opens the store in a directory only to look at it: its tables stay as they are, and nothing
    /// can be written.
    pub async fn look(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        if !exists(&path)? {
            return Err(StoreError::Absent(directory.to_owned()));
        }
        check_ours(&path).await?;
        let readers = connect(&path).await?;
        let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT lineage FROM fleet")
            .fetch_optional(&readers)
            .await
            .map_err(failed("read the lineage"))?;
        let Some((lineage,)) = row else { return Err(StoreError::Unfinished(path)) };
        let lineage = digest(&lineage, "lineage")?;
        let log = log::load(&readers, lineage).await?;
        Ok(Self {
            lineage,
            writer: Arc::new(Mutex::new(readers.clone())),
            readers,
            log: Arc::new(RwLock::new(log)),
        })
    }

    /// Checks that the database is sound, that every log is what its leaves and roots say, and that
    /// it follows the one before. What was erased from an entry is not missed.
    pub async fn check(&self) -> Result<(), Damage> {
        let found: Vec<(String,)> = sqlx::query_as("PRAGMA integrity_check(10)")
            .fetch_all(&self.readers)
            .await
            .map_err(failed("check the database"))?;
        if !matches!(found.as_slice(), [(ok,)] if ok == "ok") {
            let found: Vec<String> = found.into_iter().map(|(line,)| line).collect();
            return Err(Damage::Pages(found.join("; ")));
        }
        let dangling: Option<(String,)> =
            sqlx::query_as("SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1")
                .fetch_optional(&self.readers)
                .await
                .map_err(failed("check the database"))?;
        if let Some((table,)) = dangling {
            return Err(Damage::References(table));
        }
        self.check_log().await
    }

    async fn check_log(&self) -> Result<(), Damage> {
        let mut log = Log::first(self.lineage);
        loop {
            let page: Vec<EntryRow> = sqlx::query_as(
                "SELECT place, leaf, root, kind, salt, body FROM log
                 WHERE place >= $1 ORDER BY place LIMIT $2",
            )
            .bind(signed(log.next_place()))
            .bind(PAGE)
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read the audit log"))?;
            if page.is_empty() {
                return Ok(());
            }
            for row in page {
                let place = log.next_place();
                let leaf = digest(&row.leaf, "audit log")?;
                let whole = match (&row.salt, &row.body) {
                    (Some(salt), Some(body)) => audit::leaf(salt, &row.kind, body) == leaf,
                    _ => true,
                };
                let mut follows = true;
                if row.kind == BEGUN {
                    if let (Some(salt), Some(body)) = (&row.salt, &row.body) {
                        let found = Beginning::parse(salt, body);
                        follows = found.is_ok_and(|found| found.last == log.head());
                    }
                    log = Log::begun(self.lineage, place, leaf);
                }
                log.push(leaf);
                let root = row.root == log.head().root.as_bytes();
                if row.place != signed(place) || !whole || !follows || !root {
                    return Err(Damage::Log(place));
                }
            }
        }
    }
}
