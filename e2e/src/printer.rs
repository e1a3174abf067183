//! The one file of this crate that prints: what a person needs to run a failed test again.

/// A line for whoever reads the test's output.
#[expect(
    clippy::print_stderr,
    reason = "a test's output is where a seed and a figure belong"
)]
pub fn note(text: &str) {
    eprintln!("{text}");
}
