//! Durations as operators write them.

use super::*;

#[test]
fn durations_are_read_or_refused_and_never_overflow() {
    for (text, expected) in [
        ("90s", Duration::from_secs(90)),
        ("90", Duration::from_secs(90)),
        ("5m", Duration::from_secs(300)),
        ("1h", Duration::from_secs(3600)),
        ("500ms", Duration::from_millis(500)),
        ("8760h", Duration::from_secs(8760 * 3600)),
    ] {
        assert_eq!(duration(text), Ok(expected), "{text}");
    }
    for (text, expected) in [
        ("8761h", "too long"),
        ("99999999999999999h", "too long"),
        ("18446744073709551615", "too long"),
        ("99999999999999999999999s", "too long"),
        ("5d", "no unit"),
        ("-5s", "a number and a unit"),
        ("", "a number and a unit"),
        ("soon", "a number and a unit"),
    ] {
        let error = duration(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_number_below_zero_is_a_number_that_is_refused() {
    let scale =
        |number: &str| Cli::try_parse_from(["jailctl", "scale", "jailset/a", "--replicas", number]);
    assert!(scale("0").is_ok() && scale("3").is_ok());
    for (text, expected) in [
        ("-1", "no fewer than 0"),
        ("4294967296", "too many"),
        ("x", "no number"),
    ] {
        let error = scale(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{error}");
    }
}
