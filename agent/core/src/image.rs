//! Where a host keeps what roots of jails are made of, and those roots: the folders, the marks that say whose they are, and what shows that one is whole.
//!
//! ```text
//! STORAGE/cellblock                    which storage it is
//! STORAGE/images/DIGEST/image          the mark, written first
//!                       tarball.part   what has come of it so far
//!                       tarball        all of it, its digest and its listing checked
//!                       base.new/      being unpacked
//!                       base/          the basejail of thin jails
//!                       refused        why it cannot be used, and what that was
//! STORAGE/roots/UID/image              the mark, written first
//!                   root.new/          being made
//!                   root/              the jail's root
//!                   root.gone/         being taken away
//! ```
//!
//! Where the storage is a ZFS dataset, each of the two folders is one below it, and so is each folder of an image and of a root: with the same mark as the user property [`OWNER`], and what stands in them is the same. A
//! thick root there is a clone of its image's snapshot [`WHOLE`], taken once `base` is whole, and a thin one a file system of its own.
//!
//! Nothing is used under its last name before it is whole: a rename within one file system is all or nothing. A mark stands beside what it is of, where no jail can reach it, and is synced before anything
//! else is made: it is the ledger of these folders, and outlives the other. What is done with them is `plan::images`' matter.

use std::fmt;

use cellblock_schemas::ids::{ClusterUid, Uid};
use cellblock_schemas::jail::Layout;
use cellblock_schemas::view::ImageView;

pub mod listing;

#[cfg(test)]
mod tests;

/// The folder of images below a storage.
pub const IMAGES: &str = "images";

/// The folder of roots.
pub const ROOTS: &str = "roots";

/// The file with the mark.
pub const MARK: &str = "image";

/// The file by which a storage is known.
pub const STORAGE_MARK: &str = "cellblock";

/// What is left beside [`MARK`] by whoever dies while that is written.
const HALF_MARK: &str = ".image.new";

/// Where ZFS has a dataset's snapshots; seen where `snapdir` is `visible`.
const SNAPSHOTS: &str = ".zfs";

/// Whether a folder with these entries has nothing in it that was put there on purpose.
pub fn is_empty<'e>(mut entries: impl Iterator<Item = &'e String>) -> bool {
    entries.all(|entry| matches!(entry.as_str(), HALF_MARK | SNAPSHOTS))
}

/// Which storage it is: whose, and one of those that the host has had.
#[must_use]
pub fn storage_mark(cluster: &ClusterUid, host: &Uid, which: &str) -> String {
    format!("cellblock:{cluster}:{host}:{which}\n")
}

/// The tarball while it comes.
pub const PART: &str = "tarball.part";

/// The tarball, checked.
pub const TARBALL: &str = "tarball";

/// What a tarball is listed into while it is checked.
pub const LISTING: &str = "listing";

/// Why a tarball cannot be used.
pub const REFUSED: &str = "refused";

/// The unpacked tarball.
pub const BASE: &str = "base";

/// A jail's root.
pub const ROOT: &str = "root";

/// Behind the name of what is being made.
pub const NEW: &str = ".new";

/// Behind the name of what is being taken away.
pub const GONE: &str = ".gone";

/// Where a thin jail has the base, below its root, as in ezjail(7) and recording `08`.
pub const BASEJAIL: &str = "basejail";

/// What of a base a thin jail has by links into [`BASEJAIL`], where the base has it. Everything else is its own: `etc`, `root`, `usr/local`, `var` and the mount points.
pub const SHARED: [&str; 17] = [
    "bin",
    "boot",
    "lib",
    "libexec",
    "rescue",
    "sbin",
    "usr/bin",
    "usr/include",
    "usr/lib",
    "usr/lib32",
    "usr/libdata",
    "usr/libexec",
    "usr/libsoft",
    "usr/sbin",
    "usr/share",
    "usr/src",
    "usr/tests",
];

/// The folder of an image.
#[must_use]
pub fn image_folder(storage: &str, digest: &str) -> String {
    format!("{storage}/{IMAGES}/{digest}")
}

/// The folder of a jail's root.
#[must_use]
pub fn root_folder(storage: &str, jail: &Uid) -> String {
    format!("{storage}/{ROOTS}/{jail}")
}

/// The user property with the mark of a dataset.
pub const OWNER: &str = "cellblock:owner";

/// The user property by which an operator says that a dataset takes the place of one that is lost: its own guid.
pub const ADOPT: &str = "cellblock:adopt";

/// The snapshot of an image that is whole, behind the `@`.
pub const WHOLE: &str = "cellblock";

/// The dataset of an image.
#[must_use]
pub fn image_dataset(storage: &str, digest: &str) -> String {
    format!("{storage}/{IMAGES}/{digest}")
}

/// The dataset of a jail's root.
#[must_use]
pub fn root_dataset(storage: &str, jail: &Uid) -> String {
    format!("{storage}/{ROOTS}/{jail}")
}

/// The snapshot of an image's dataset.
#[must_use]
pub fn snapshot(dataset: &str) -> String {
    format!("{dataset}@{WHOLE}")
}

/// Whose the snapshot of an image is that was taken once that was whole: what somebody else took has what it inherits.
#[must_use]
pub fn snapshot_owner(cluster: &ClusterUid, digest: &str) -> String {
    format!("{}:whole", image_owner(cluster, digest))
}

/// Whose an image's dataset is, and of which image. What is below a dataset inherits its user properties, so each says what it is of.
#[must_use]
pub fn image_owner(cluster: &ClusterUid, digest: &str) -> String {
    format!("cellblock:{cluster}:image:{digest}")
}

/// Whose an image's folder is.
#[must_use]
pub fn image_mark(cluster: &ClusterUid) -> String {
    format!("cellblock:{cluster}\n")
}

/// Whose a root is, and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootMark {
    /// The cluster.
    pub cluster: ClusterUid,
    /// The Jail.
    pub jail: Uid,
    /// How it was made.
    pub layout: Layout,
    /// Of which image, by the SHA-256 of its tarball.
    pub digest: String,
}

impl RootMark {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.trim_end().split(':');
        let (name, cluster, jail) = (words.next()?, words.next()?, words.next()?);
        let layout = match words.next()? {
            "thick" => Layout::Thick,
            "thin" => Layout::Thin,
            _ => return None,
        };
        let digest = words.next()?;
        let is_one = name == "cellblock" && is_digest(digest) && words.next().is_none();
        is_one.then(|| Self {
            cluster: ClusterUid(cluster.to_owned()),
            jail: Uid(jail.to_owned()),
            layout,
            digest: digest.to_owned(),
        })
    }
}

impl fmt::Display for RootMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = layout_word(self.layout);
        writeln!(
            f,
            "cellblock:{}:{}:{layout}:{}",
            self.cluster, self.jail, self.digest
        )
    }
}

/// `thick` or `thin`.
#[must_use]
pub fn layout_word(layout: Layout) -> &'static str {
    match layout {
        Layout::Thick => "thick",
        Layout::Thin => "thin",
    }
}

/// Whether `text` is a SHA-256 as it names a folder.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// The beginning of a digest, which tells it from others, for people.
#[must_use]
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Where fetch(1) gets a tarball from; a path stands for a file of the host.
#[must_use]
pub fn url(tarball: &str) -> String {
    if tarball.starts_with('/') {
        format!("file://{tarball}")
    } else {
        tarball.to_owned()
    }
}

/// Whether asking for it again costs more than reading a file of the host.
#[must_use]
pub fn is_remote(tarball: &str) -> bool {
    !tarball.starts_with('/')
}

/// What the file [`REFUSED`] says: of which tarball, and why.
#[must_use]
pub fn refusal(tarball: &str, why: &str) -> String {
    format!("{tarball}\n{why}\n")
}

/// Why that file refuses the tarball of `image`; none: it speaks of another one.
#[must_use]
pub fn refused<'t>(text: &'t str, image: &ImageView) -> Option<&'t str> {
    let (tarball, why) = text.split_once('\n')?;
    (tarball == image.release.tarball).then(|| why.trim_end())
}
