//! What stands in the folder of images and of roots made of them: names and marks, read without a command.
//!
//! What cannot be read is unknown, never absent, and nothing but itself. No folder in it is a symbolic link: jails and mounts go by real paths, and what is removed must be what was looked at.

use std::collections::BTreeSet;
use std::io;

use cellblock_agent_core::host::HostError;
use cellblock_agent_core::image::{IMAGES, MARK, REFUSED, ROOTS, STORAGE_MARK};
use cellblock_agent_core::observed::{ImageFolder, RootFolder, Storage};

use crate::error::Failure;
use crate::system::{System, SystemError};

/// What stands in the storage at `path`; none if there is no such directory, or that cannot be told.
pub(crate) fn look(system: &dyn System, path: &str) -> Option<Storage> {
    let path = system.real_path(path).ok().flatten()?;
    let mut storage = Storage {
        path: path.clone(),
        ..Storage::default()
    };
    storage.unread = fill(system, &path, &mut storage).err();
    Some(storage)
}

fn fill(system: &dyn System, path: &str, storage: &mut Storage) -> Result<(), String> {
    let mark = system.read_file(&format!("{path}/{STORAGE_MARK}"));
    storage.mark = mark.map_err(why)?;
    for folder in [IMAGES, ROOTS] {
        let at = format!("{path}/{folder}");
        for name in list(system, &at)?.unwrap_or_default() {
            let at = format!("{at}/{name}");
            let found = if folder == IMAGES {
                image(system, &at).map(|found| {
                    let found = found.map(|found| (name.clone(), found));
                    storage.images.extend(found);
                })
            } else {
                root(system, &at).map(|found| {
                    let found = found.map(|found| (name.clone(), found));
                    storage.roots.extend(found);
                })
            };
            if let Err(why) = found {
                storage.unknown.insert(name, why);
            }
        }
    }
    Ok(())
}

fn image(system: &dyn System, at: &str) -> Result<Option<ImageFolder>, String> {
    let Some(entries) = list(system, at)? else {
        return Ok(None);
    };
    let read = |name: &str| system.read_file(&format!("{at}/{name}")).map_err(why);
    Ok(Some(ImageFolder {
        mark: read(MARK)?,
        refused: read(REFUSED)?,
        entries,
    }))
}

fn root(system: &dyn System, at: &str) -> Result<Option<RootFolder>, String> {
    let Some(entries) = list(system, at)? else {
        return Ok(None);
    };
    let mark = system.read_file(&format!("{at}/{MARK}")).map_err(why)?;
    Ok(Some(RootFolder { mark, entries }))
}

/// The entries of a folder; none where there is none, or a file that somebody put there.
fn list(system: &dyn System, at: &str) -> Result<Option<BTreeSet<String>>, String> {
    let entries = match system.list_dir(at) {
        Ok(Some(entries)) => entries,
        Ok(None) => return Ok(None),
        Err(SystemError::File { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
            return Ok(None);
        }
        Err(error) => return Err(why(error)),
    };
    match system.real_path(at).map_err(why)? {
        Some(real) if real != at => Err(format!("is a symbolic link to `{real}`")),
        Some(_) | None => Ok(Some(entries.into_iter().collect())),
    }
}

fn why(error: SystemError) -> String {
    let message = HostError::from(Failure::from(error)).message;
    format!("cannot be looked at: {message}")
}
