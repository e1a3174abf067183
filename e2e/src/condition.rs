//! Waiting: until a condition holds, never for a time.

use std::time::{Duration, Instant};

/// How long the fleet may take to be as asked for, whatever was killed.
pub const CONVERGE: Duration = Duration::from_secs(60);

/// How often to look. Short against everything that is waited for, long against what a look costs.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until `look` succeeds.
///
/// # Errors
/// It did not within the time: with its last error.
pub fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("{what}: not after {} s", within.as_secs())));
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Looks until the time has passed, and fails as soon as `look` does: for what must stay as it is.
///
/// # Errors
/// The first error of `look`.
pub fn holds(
    what: &str,
    during: Duration,
    mut look: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + during;
    while Instant::now() < deadline {
        look().map_err(|error| error.context(what.to_owned()))?;
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
