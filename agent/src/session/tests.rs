//! How long is waited between two sessions.

use super::*;

#[test]
fn a_session_that_breaks_soon_after_its_welcome_is_no_reason_to_hurry() {
    let (pause, most) = (Duration::from_secs(8), Duration::from_secs(15));
    assert_eq!(pause_after(Duration::from_secs(1), pause, most), pause);
    assert_eq!(pause_after(most, pause, most), PAUSE_FIRST);
}

#[test]
fn a_fleet_does_not_come_back_in_one_instant() {
    let pause = Duration::from_secs(8);
    let pauses: Vec<Duration> = (0..200).map(|_| jittered(pause)).collect();
    assert!(
        pauses.iter().all(|one| *one >= pause / 2 && *one <= pause),
        "{pauses:?}"
    );
    let earliest = pauses.iter().min().expect("some");
    let latest = pauses.iter().max().expect("some");
    assert!(
        *latest - *earliest > pause / 4,
        "{earliest:?} to {latest:?}"
    );
}
