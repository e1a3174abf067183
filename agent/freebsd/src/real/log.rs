//! Reading a log whose directory may be a jail's: no link is followed anywhere on the way, and nothing but a file is read.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{Mode, OFlags, open, openat};

use crate::visit::LogPart;

/// `bytes_max` octets of the file at `path` from `from` on; none if there is no file.
///
/// The path of an operator may lead through a jail's root, where the jail's root puts what he wants: a link to a file of the host's, a fifo, a directory in place of the one before.
pub(super) fn read(path: &str, from: u64, bytes_max: usize) -> io::Result<Option<LogPart>> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let name = parts.next_back();
    let directory = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = open("/", directory, Mode::empty())?;
    for part in parts {
        at = match openat(&at, part, directory, Mode::empty()) {
            Ok(next) => next,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(refused(error, part)),
        };
    }
    // A fifo that nobody writes to would wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(&at, name.unwrap_or("."), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(refused(error, name.unwrap_or_default())),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let mut bytes = Vec::new();
    let mut file = file;
    file.seek(io::SeekFrom::Start(from))?;
    file.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(Some(LogPart {
        file: metadata.ino(),
        size: metadata.len(),
        changed_ago: metadata.modified().ok().map(|at| match at.elapsed() {
            Ok(ago) => ago,
            Err(ahead) => ahead.duration(),
        }),
        bytes,
    }))
}

/// A link where none may be is ELOOP on Linux, EMLINK on FreeBSD (open(2)), and with O_DIRECTORY ENOTDIR.
fn refused(error: rustix::io::Errno, part: &str) -> io::Error {
    use rustix::io::Errno;
    if matches!(error, Errno::LOOP | Errno::MLINK | Errno::NOTDIR) {
        let why = format!(
            "`{part}` is a symbolic link or no directory, and none is followed on the way to a log; exec.consolelog must say where it really is"
        );
        return io::Error::new(io::ErrorKind::InvalidInput, why);
    }
    error.into()
}
