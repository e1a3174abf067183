//! How long a certificate of one's own is good: the agent's, who says in its log while there is time to renew it, and when it is too late;
//! and the operator's, where `jailctl` is turned away.
//!
//! Whether a controller accepts it is for the controller to say, whose word about it is often lost with the connection; this is what can be
//! known here. Other certificates are the listener's to judge.

use std::path::Path;

use jiff::Timestamp;
use x509_parser::pem::Pem;

/// How long before its end a certificate is to be renewed at the earliest; one that is good for less than three times as long, in the last third of its time.
const NOTICE_DAYS: i64 = 30;

/// What is to be said of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Nobody accepts it, as this machine's clock has it.
    pub is_invalid: bool,
    /// In words.
    pub text: String,
}

/// What is to be said of the certificate in that file. Nothing if it cannot be read: whoever connects with it tells that better.
#[must_use]
pub fn look(path: &Path, now: Timestamp) -> Option<Notice> {
    let pem = std::fs::read(path).ok()?;
    let (from, until) = validity(&pem)?;
    judge(path, from, until, now)
}

/// From when until when the first certificate among PEM blocks is good.
fn validity(pem: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let mut blocks = Pem::iter_from_buffer(pem).flatten();
    let block = blocks.find(|block| block.label == "CERTIFICATE")?;
    let certificate = block.parse_x509().ok()?;
    let validity = certificate.validity();
    // What a Timestamp cannot hold is the year 9999, which RFC 5280 gives to what never ends.
    let time = |seconds: i64| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    Some((
        time(validity.not_before.timestamp()),
        time(validity.not_after.timestamp()),
    ))
}

fn judge(path: &Path, from: Timestamp, until: Timestamp, now: Timestamp) -> Option<Notice> {
    let path = path.display();
    let left = until.duration_since(now);
    // RFC 5280, 4.1.2.5: through its last second, and rustls counts in seconds.
    let has_ended = now.as_second() > until.as_second();
    if now < from {
        return Some(Notice {
            is_invalid: true,
            text: format!(
                "the certificate {path} is good only from {from} on, and by this machine's clock it is {now}"
            ),
        });
    }
    if has_ended {
        return Some(Notice {
            is_invalid: true,
            text: format!(
                "the certificate {path} ended at {until}, so that no controller accepts it; have another issued for its key"
            ),
        });
    }
    let days = left.as_hours() / 24;
    let third = until.duration_since(from) / 3;
    (days < NOTICE_DAYS && left < third).then(|| Notice {
        is_invalid: false,
        text: format!(
            "the certificate {path} ends at {until}, in {days} days, and from then on no controller accepts it; have another issued for its key"
        ),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn an_end_is_told_a_month_before_and_after() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fbsd-01.pem");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 7, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        // A key before it, as in files that hold both.
        let pem = key.serialize_pem() + &certificate.pem();
        std::fs::write(&path, pem).expect("written");
        let look = |now: &str| look(&path, at(now));
        assert_eq!(look("2026-01-02T00:00:00Z"), None);
        assert_eq!(look("2026-05-31T23:00:00Z"), None);
        for (now, is_invalid, expected) in [
            (
                "2025-12-31T23:59:59Z",
                true,
                "good only from 2026-01-01T00:00:00Z on",
            ),
            (
                "2026-06-02T12:00:00Z",
                false,
                "ends at 2026-07-01T00:00:00Z, in 28 days",
            ),
            ("2026-06-30T23:59:59Z", false, "in 0 days"),
            ("2026-07-01T00:00:00.9Z", false, "in 0 days"),
            (
                "2026-07-01T00:00:01Z",
                true,
                "ended at 2026-07-01T00:00:00Z",
            ),
            ("2030-01-01T00:00:00Z", true, "no controller accepts it"),
        ] {
            let notice = look(now).expect(now);
            assert_eq!(notice.is_invalid, is_invalid, "{now}");
            assert!(notice.text.contains(expected), "{now}: {}", notice.text);
            assert!(notice.text.contains("fbsd-01.pem"), "{}", notice.text);
        }
    }

    /// What is renewed by a machine each few days is not told of each day of its life.
    #[test]
    fn of_a_short_life_the_last_third_counts() {
        let look = |days: i64, hours: i64| {
            let from = at("2026-01-01T00:00:00Z");
            let until = from + jiff::SignedDuration::from_hours(days * 24);
            let now = from + jiff::SignedDuration::from_hours(hours);
            judge(Path::new("x"), from, until, now).is_some()
        };
        assert!(!look(30, 20 * 24) && look(30, 20 * 24 + 1));
        assert!(!look(1, 16) && look(1, 17));
        assert!(!look(90, 60 * 24) && look(90, 60 * 24 + 1));
        assert!(!look(365, 334 * 24) && look(365, 335 * 24 + 1));
    }

    #[test]
    fn what_is_no_certificate_is_left_to_who_connects_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.pem");
        assert_eq!(look(&path, Timestamp::now()), None);
        std::fs::write(&path, "no PEM").expect("written");
        assert_eq!(look(&path, Timestamp::now()), None);
    }

    #[test]
    fn a_certificate_without_an_end_has_none() {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(9999, 12, 31);
        let certificate = params.self_signed(&key).expect("a certificate");
        let (_, until) = validity(certificate.pem().as_bytes()).expect("it is one");
        assert_eq!(until, Timestamp::MAX);
        assert_eq!(
            judge(
                Path::new("x"),
                at("2026-01-01T00:00:00Z"),
                until,
                at("2026-06-01T00:00:00Z")
            ),
            None
        );
    }
}
