//! What a finished command left behind. Shared by every emulated program and by the replay.

/// Exit status and the two output streams of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit status, 0 to 255.
    pub status: i32,
    /// Everything written to standard output.
    pub stdout: String,
    /// Everything written to standard error.
    pub stderr: String,
}

impl Output {
    /// A command that said nothing and succeeded.
    pub fn success() -> Self {
        Self::default()
    }

    /// A command that ended with `status` after writing one line to standard error.
    pub fn failure(status: i32, line: impl AsRef<str>) -> Self {
        Self {
            status,
            stdout: String::new(),
            stderr: format!("{}\n", line.as_ref()),
        }
    }

    /// Appends one line to standard output.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.stdout.push_str(text.as_ref());
        self.stdout.push('\n');
    }

    /// Appends one line to standard error.
    pub fn error(&mut self, text: impl AsRef<str>) {
        self.stderr.push_str(text.as_ref());
        self.stderr.push('\n');
    }

    /// Appends one line to standard error and sets the exit status.
    pub fn fail(&mut self, status: i32, text: impl AsRef<str>) {
        self.error(text);
        self.status = status;
    }

    /// Appends the streams of `other` and takes over its status.
    pub fn absorb(&mut self, other: Output) {
        self.stdout.push_str(&other.stdout);
        self.stderr.push_str(&other.stderr);
        self.status = other.status;
    }

    /// Whether the exit status is 0.
    pub fn is_success(&self) -> bool {
        self.status == 0
    }
}
