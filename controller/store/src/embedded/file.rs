//! Locking, creating and opening the file. What is inside is `tables`' business.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, TableError};

use super::errors::{Fault, corrupted, io, opening};
use super::tables::{FORMAT, KEYS, LEASED, LEASES, LOG, META, VERSIONS, meta};
use crate::error::{Error, Result};

/// Only the user who runs the controller reads the file: objects may say more than everybody should know.
const MODE: u32 = 0o600;

/// The lock file's contents are one line; more of a foreign file is not worth quoting.
const HOLDER_BYTES_MAX: u64 = 200;

/// Says that this process has the file, until it is dropped or the process dies, however it dies.
///
/// A lock of our own besides redb's, because redb's cannot tell who holds it and is promised on fewer systems.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self> {
        let lock_path = with_suffix(path, ".lock");
        let failed = |error: std::io::Error| io(&lock_path, &error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(&lock_path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    path: path.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        let program = std::env::args_os().next().map(PathBuf::from);
        let program = program
            .as_deref()
            .and_then(Path::file_name)
            .map(Path::new)
            .unwrap_or(Path::new("unknown"));
        writeln!(
            file,
            "process {} ({})",
            std::process::id(),
            program.display()
        )
        .map_err(failed)?;
        Ok(Lock { _file: file })
    }
}

/// Who says that he holds the lock. The line is written just after the lock is taken, so it may be missing.
fn holder(file: &mut File) -> String {
    let mut line = String::new();
    match file.take(HOLDER_BYTES_MAX).read_to_string(&mut line) {
        Ok(_) if !line.trim().is_empty() => line.trim().to_owned(),
        Ok(_) | Err(_) => "another process".to_owned(),
    }
}

/// Opens the file, or creates it when there is none.
///
/// A new store is made under another name and renamed when it is complete, so that an existing file without content is
/// a damaged store and never mistaken for a new one.
pub(super) fn open_or_create(path: &Path, cache_bytes: usize) -> Result<Database> {
    let exists = path.try_exists().map_err(|error| io(path, &error))?;
    if !exists {
        create(path, cache_bytes)?;
    }
    open(path, cache_bytes, true)
}

/// Opens an existing file. `verify` reads all of it: redb trusts a file that was closed cleanly, and may panic later
/// over damage that it could have reported now.
pub(super) fn open(path: &Path, cache_bytes: usize, verify: bool) -> Result<Database> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| io(path, &error))?;
    if file.metadata().map_err(|error| io(path, &error))?.len() == 0 {
        return Err(Error::Damaged {
            path: path.to_owned(),
            reason: "it is empty".to_owned(),
        });
    }
    let work = move || {
        let mut builder = Builder::new();
        builder
            .set_cache_size(cache_bytes)
            .set_check_integrity_on_open(verify);
        builder.create_with_backend(FileBackend::new(file)?)
    };
    // Damage that redb did not think of shows as a panic; in a thread of its own it stays one file's problem.
    let database = match std::thread::spawn(work).join() {
        Ok(opened) => opened.map_err(|error| opening(path, error))?,
        Err(_) => {
            return Err(Error::Damaged {
                path: path.to_owned(),
                reason: "redb cannot make sense of it".to_owned(),
            });
        }
    };
    check_format(&database, path)?;
    Ok(database)
}

fn create(path: &Path, cache_bytes: usize) -> Result<()> {
    let failed = |error: std::io::Error| io(path, &error);
    let draft = with_suffix(path, ".new");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(&draft)
        .map_err(failed)?;
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    let backend = FileBackend::new(file).map_err(|error| opening(&draft, error))?;
    let database = builder
        .create_with_backend(backend)
        .map_err(|error| opening(&draft, error))?;
    initialise(&database).map_err(|fault| fault.into_error(&draft))?;
    database.close().map_err(|error| opening(&draft, error))?;
    File::open(&draft)
        .and_then(|file| file.sync_all())
        .map_err(failed)?;
    std::fs::rename(&draft, path).map_err(failed)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

pub(super) fn initialise(database: &Database) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(META)?;
        table.insert(meta::FORMAT, FORMAT)?;
        // An empty etcd is at revision 1, and so that 0 can mean "before everything", so are we.
        table.insert(meta::REVISION, 1)?;
        table.insert(meta::COMPACTED, 1)?;
        table.insert(meta::TRIMMED, 1)?;
        table.insert(meta::LEASE, 0)?;
        transaction.open_table(KEYS)?;
        transaction.open_table(VERSIONS)?;
        transaction.open_table(LOG)?;
        transaction.open_table(LEASES)?;
        transaction.open_table(LEASED)?;
    }
    transaction.commit()?;
    Ok(())
}

fn check_format(database: &Database, path: &Path) -> Result<()> {
    let format = || -> Result<u64, Fault> {
        let foreign = || corrupted("it is a redb file, but no Cellblock store".to_owned());
        let table = match database.begin_read()?.open_table(META) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Err(foreign()),
            Err(error) => return Err(error.into()),
        };
        Ok(table.get(meta::FORMAT)?.ok_or_else(foreign)?.value())
    };
    match format().map_err(|fault| fault.into_error(path))? {
        FORMAT => Ok(()),
        other => Err(Error::Io {
            path: path.to_owned(),
            reason: format!(
                "it has format {other}, this program reads {FORMAT}; run the version that wrote it"
            ),
        }),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
