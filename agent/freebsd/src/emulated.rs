//! The emulated host behind [`System`]: the same argv in, the same text out, in virtual time. In tests, the sandbox and the simulation.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cellblock_fakebsd::Emulator;
use cellblock_fakebsd::files::FileError;

use crate::command::{Command, Output};
use crate::system::{System, SystemError};

/// An emulated host. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Emulated(pub Arc<Mutex<Emulator>>);

impl Emulated {
    /// The system of `emulator`.
    #[must_use]
    pub fn new(emulator: Emulator) -> Self {
        Self(Arc::new(Mutex::new(emulator)))
    }

    /// The emulator itself, to look at it or to let time pass. A test that panicked while it held the emulator does not take it away from others.
    pub fn emulator(&self) -> MutexGuard<'_, Emulator> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl System for Emulated {
    /// The emulator knows programs by their name, as the recordings do.
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        let mut argv = command.argv.clone();
        if let Some(program) = argv.first_mut()
            && let Some((_, name)) = program.rsplit_once('/')
        {
            *program = name.to_owned();
        }
        let stdin = command.stdin.as_deref().unwrap_or_default();
        let output = self.emulator().run(&argv, stdin);
        Ok(Output {
            status: output.status,
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, SystemError> {
        match self.emulator().files.read_text(path) {
            Ok(text) => Ok(Some(text)),
            Err(FileError::NotFound) => Ok(None),
            Err(error) => Err(file_error("read", path, error)),
        }
    }

    fn write_file(&self, path: &str, content: &str) -> Result<(), SystemError> {
        let files = &mut self.emulator().files;
        let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
        files
            .create_directories(parent)
            .and_then(|()| files.write(path, content))
            .map_err(|error| file_error("write", path, error))
    }

    fn remove_file(&self, path: &str) -> Result<(), SystemError> {
        match self.emulator().files.remove(path) {
            Ok(()) | Err(FileError::NotFound) => Ok(()),
            Err(error) => Err(file_error("remove", path, error)),
        }
    }

    fn list_dir(&self, path: &str) -> Result<Option<Vec<String>>, SystemError> {
        match self.emulator().files.list(path) {
            Ok(names) => Ok(Some(names.map(str::to_owned).collect())),
            Err(FileError::NotFound) => Ok(None),
            Err(error) => Err(file_error("list", path, error)),
        }
    }

    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError> {
        let emulator = self.emulator();
        let real = emulator
            .files
            .real_path(path)
            .map_err(|error| file_error("look at", path, error))?;
        Ok(real.filter(|real| emulator.files.is_directory(real)))
    }

    fn file_size(&self, path: &str) -> Result<Option<u64>, SystemError> {
        match self.emulator().files.read(path) {
            Ok(bytes) => Ok(Some(bytes.len() as u64)),
            Err(FileError::NotFound | FileError::IsADirectory) => Ok(None),
            Err(error) => Err(file_error("look at", path, error)),
        }
    }

    fn rotate_file(&self, path: &str, beside: &str, bytes_max: u64) -> Result<(), SystemError> {
        let files = &mut self.emulator().files;
        let read = files.read(path).map(<[u8]>::to_vec);
        let bytes = read.map_err(|error| file_error("read", path, error))?;
        let kept = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let end = &bytes[bytes.len().saturating_sub(kept)..];
        files
            .write(beside, end)
            .and_then(|()| files.write(path, ""))
            .map_err(|error| file_error("write", beside, error))
    }
}

fn file_error(action: &'static str, path: &str, error: FileError) -> SystemError {
    let kind = match error {
        FileError::NotFound => io::ErrorKind::NotFound,
        FileError::NotADirectory => io::ErrorKind::NotADirectory,
        FileError::IsADirectory => io::ErrorKind::IsADirectory,
        FileError::NotEmpty => io::ErrorKind::DirectoryNotEmpty,
        FileError::Exists => io::ErrorKind::AlreadyExists,
        FileError::NoSpace => io::ErrorKind::StorageFull,
        FileError::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
        FileError::TooManyLinks | FileError::NameTooLong => io::ErrorKind::Other,
    };
    SystemError::File {
        action,
        path: path.to_owned(),
        source: io::Error::new(kind, error),
    }
}
