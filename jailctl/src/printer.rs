//! The one file that prints. Results go to standard output, everything else to standard error; colours and progress only where a terminal is.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::table::Room;

#[cfg(test)]
mod tests;

/// The width of a table that goes to no terminal.
const COLUMNS: usize = 80;

/// The exit status where the reader of the result has gone away: what a shell tells of a program that SIGPIPE ended (128 + 13), so that
/// `jailctl get all | head` is judged as `kubectl get all | head` is. Rust's runtime ignores the signal itself.
const EXIT_READER_GONE: u8 = 141;

/// The result could not be written.
#[derive(Debug)]
pub struct Unwritten(std::io::Error);

impl Unwritten {
    /// The exit status where nothing is to be said, because whoever would read the result has gone away on purpose.
    #[must_use]
    pub fn silent(&self) -> Option<ExitCode> {
        (self.0.kind() == std::io::ErrorKind::BrokenPipe)
            .then_some(ExitCode::from(EXIT_READER_GONE))
    }
}

impl From<std::io::Error> for Unwritten {
    fn from(error: std::io::Error) -> Self {
        Self(error)
    }
}

impl std::fmt::Display for Unwritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the result could not be written to standard output, so what is there is not all of it: {}",
            self.0
        )
    }
}

impl std::error::Error for Unwritten {}

/// Where output goes, and how.
#[derive(Debug)]
pub struct Printer {
    out_is_terminal: bool,
    err_is_terminal: bool,
}

impl Default for Printer {
    fn default() -> Self {
        Self::new()
    }
}

impl Printer {
    /// A printer for this process. `NO_COLOR` is honoured, and a terminal that is `dumb`.
    #[must_use]
    pub fn new() -> Self {
        let color = takes_colors(|name| std::env::var_os(name));
        Self {
            out_is_terminal: color && std::io::stdout().is_terminal(),
            err_is_terminal: color && std::io::stderr().is_terminal(),
        }
    }

    /// Whether standard error takes colours and progress.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.err_is_terminal
    }

    /// How much room a table has: a terminal's width, or 80 columns, which a file or a pager is read at.
    #[must_use]
    pub fn room(&self) -> Room {
        match terminal_width() {
            Some(width) => Room::Terminal(width),
            None => Room::Columns(COLUMNS),
        }
    }

    /// A line of the result.
    ///
    /// # Errors
    /// It could not be written, as on a full disk, or nobody reads it any more.
    pub fn line(&self, text: &str) -> Result<(), Unwritten> {
        self.raw(&format!("{}\n", plain(text)))
    }

    /// The result as it is, such as a YAML document.
    ///
    /// # Errors
    /// As of [`Printer::line`].
    pub fn raw(&self, text: &str) -> Result<(), Unwritten> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Where octets of somebody else's go. `guarded`: shown to a person, none of them drives the terminal.
    #[must_use]
    pub fn octets(&self, guarded: bool) -> Octets {
        Octets {
            escapes: guarded && std::io::stdout().is_terminal(),
            unfinished: Vec::new(),
        }
    }

    /// A line for the person in front of it, not part of the result. Where it cannot be written, as everything else that goes to
    /// standard error, there is no place left to say so.
    pub fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{}", lines(text));
    }

    /// A warning.
    pub fn warning(&self, text: &str) {
        self.marked("warning", "33", text);
    }

    /// An error.
    pub fn error(&self, text: &str) {
        self.marked("error", "31", text);
    }

    /// A text that is rendered already, colours included, such as a diagnostic.
    pub fn rendered(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{}\n", plain(text));
    }

    /// `text` in colour `code` where standard output is a terminal.
    #[must_use]
    pub fn paint(&self, code: &str, text: &str) -> String {
        if self.out_is_terminal {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn marked(&self, word: &str, code: &str, text: &str) {
        let word = if self.err_is_terminal {
            format!("\x1b[1;{code}m{word}\x1b[0m")
        } else {
            word.to_owned()
        };
        let _ = writeln!(std::io::stderr().lock(), "{word}: {}", lines(text));
    }
}

/// Where octets go as they come.
#[derive(Debug)]
pub struct Octets {
    escapes: bool,
    /// The first octets of a character whose others are to come.
    unfinished: Vec<u8>,
}

impl Octets {
    /// Writes them to standard output or standard error.
    ///
    /// # Errors
    /// As of [`Printer::line`].
    pub fn write(&mut self, is_error: bool, bytes: &[u8]) -> Result<(), Unwritten> {
        let shown = if self.escapes {
            Cow::Owned(self.readable(bytes).into_bytes())
        } else {
            Cow::Borrowed(bytes)
        };
        if is_error {
            std::io::stderr().lock().write_all(&shown)?;
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        out.write_all(&shown)?;
        Ok(out.flush()?)
    }

    fn readable(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.unfinished);
        all.extend_from_slice(bytes);
        if let Err(error) = std::str::from_utf8(&all)
            && error.error_len().is_none()
        {
            self.unfinished = all.split_off(error.valid_up_to());
        }
        let text = String::from_utf8_lossy(&all).replace("\r\n", "\n");
        lines(&text)
    }
}

/// Whether a terminal takes colours, and a progress bar, as far as the environment tells.
fn takes_colors(environment: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    let is_unwanted = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_unwanted && environment("TERM").is_none_or(|term| term != "dumb")
}

/// The width of the terminal that standard output is; none if it is none, or does not tell.
fn terminal_width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    comfy_table::Table::new().width().map(usize::from)
}

/// Text of an object, in one line and as text: control characters, and those that turn the direction of writing around, are shown
/// escaped. Whoever may write an annotation must not drive the terminal of an operator who looks at it, nor feign lines of ours.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_acting) {
        Cow::Owned(escaped(text, |_| false))
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether a character does something instead of showing something: a control character, a line or paragraph separator, or one of those that
/// turn the direction of writing around (Unicode's `Bidi_Control`, without the marks that only languages need).
fn is_acting(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` with what acts escaped, but for what is `kept`.
fn escaped(text: &str, kept: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_acting(character) && !kept(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A message in lines, with everything else that acts escaped: nothing in it is painted by us.
fn lines(text: &str) -> String {
    escaped(text, |character| matches!(character, '\n' | '\t'))
}

/// Without control characters: what a jail's root can write must not drive the operator's terminal. Colours stay, because they are
/// painted before; no other sequence does, and a colour that somebody else wrote does no more than colour.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (place, character) in text.char_indices() {
        let kept = match character {
            '\x1b' => is_color(&text[place..]),
            '\n' | '\t' => true,
            _ => !character.is_control(),
        };
        if kept {
            shown.push(character);
        }
    }
    shown
}

/// Whether `text` begins with the sequence of a colour: `ESC [ digits and semicolons m`.
fn is_color(text: &str) -> bool {
    text.strip_prefix("\x1b[").is_some_and(|rest| {
        rest.trim_start_matches(|character: char| character.is_ascii_digit() || character == ';')
            .starts_with('m')
    })
}
