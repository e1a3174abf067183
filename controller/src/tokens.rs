//! Bearer tokens: a file of them, read once, in the form of kube-apiserver's `--token-auth-file` (kubernetes/apiserver,
//! `pkg/authentication/token/tokenfile/tokenfile.go`). What somebody may do is not said here but in [`crate::authorise`].

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// How large the file is at most: thousands of tokens.
const BYTES_MAX: u64 = 1 << 20;

/// The permissions that nobody but the file's owner may have.
const OTHERS: u32 = 0o077;

/// Who may show a token, and what it says of them.
pub(crate) struct Tokens(Vec<Known>);

/// One of them. The token itself is not kept.
struct Known {
    digest: [u8; 32],
    user: User,
}

/// Who shows a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

/// Why a file of tokens cannot be used. No token is in it.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else may read or write it.
    #[error("{} has mode {mode:04o}, so that others than its owner read or change it: chmod 600 it", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Somebody else than the controller's user, or root, may change it and who may read it.
    #[error("{} belongs to the user with id {owner}: chown it to the user that the controller runs as", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It is not of the form that is read.
    #[error("{}:{line}: {what}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which line, counted from 1; 0: the file as a whole.
        line: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

impl Tokens {
    /// Reads a file: a line for each, `TOKEN,USER,UID` or `TOKEN,USER,UID,"GROUP,GROUP"`.
    ///
    /// # Errors
    /// It is missing, is somebody else's, may be read or changed by others than its owner, or is not of that form.
    pub(crate) fn read(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let malformed = |line, what| TokenError::Malformed {
            path: path.to_owned(),
            line,
            what,
        };
        // The file that was judged is the one that is read.
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        let mode = metadata.mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(TokenError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let owner = metadata.uid();
        if owner != rustix::process::geteuid().as_raw() && owner != 0 {
            return Err(TokenError::Foreign {
                path: path.to_owned(),
                owner,
            });
        }
        if metadata.len() > BYTES_MAX {
            return Err(malformed(0, "it is larger than 1 MiB"));
        }
        let text = std::io::read_to_string(file).map_err(unreadable)?;
        let mut known: Vec<Known> = Vec::new();
        let mut seen = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let wrong = |what| malformed(number + 1, what);
            let columns = columns(line).ok_or_else(|| wrong("a quote is not closed"))?;
            let (token, name, groups) = match columns.as_slice() {
                [token, name, _uid] => (token, name, ""),
                [token, name, _uid, groups] => (token, name, groups.as_str()),
                _ => {
                    return Err(wrong(
                        "a line has token, user, uid and perhaps groups, between commas",
                    ));
                }
            };
            if token.is_empty() || name.is_empty() {
                return Err(wrong("the token or the user is empty"));
            }
            if !is_b64token(token) {
                return Err(wrong(
                    "a token is made of letters, digits and `-._~+/`, with `=` at its end: no request could show it",
                ));
            }
            let digest = digest(token);
            if !seen.insert(digest) {
                return Err(wrong("the token stands in an earlier line too"));
            }
            let groups = groups.split(',').map(str::trim);
            let groups = groups.filter(|group| !group.is_empty());
            known.push(Known {
                digest,
                user: User {
                    name: name.clone(),
                    groups: groups.map(str::to_owned).collect(),
                },
            });
        }
        Ok(Self(known))
    }

    /// Whose token it is. How long that takes does not depend on how much of it is right.
    pub(crate) fn user(&self, token: &str) -> Option<&User> {
        let shown = digest(token);
        let mut found = None;
        for known in &self.0 {
            let different = known.digest.iter().zip(&shown);
            let different = different.fold(0, |all, (one, other)| all | (one ^ other));
            if std::hint::black_box(different) == 0 {
                found = Some(&known.user);
            }
        }
        found
    }
}

/// The token in an `Authorization` header (RFC 6750, 2.1); none if it is of another scheme, as with kube-apiserver.
pub(crate) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// What may stand behind `Bearer` (RFC 6750, 2.1).
fn is_b64token(token: &str) -> bool {
    let bare = token.trim_end_matches('=');
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~+/".contains(&octet);
    !bare.is_empty() && bare.bytes().all(fits)
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The columns of a line of CSV (RFC 4180), in which what is quoted may have commas, and two quotes for one.
fn columns(line: &str) -> Option<Vec<String>> {
    let mut columns = vec![String::new()];
    let mut is_quoted = false;
    let mut characters = line.trim().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                columns.last_mut()?.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => columns.push(String::new()),
            other => columns.last_mut()?.push(other),
        }
    }
    (!is_quoted).then_some(columns)
}

#[cfg(test)]
mod tests;
