//! Why a connection broke, in one line: the causes behind an error, each once. What to do about it is the session's to say.

use std::error::Error;

/// An error and its causes.
pub(super) fn told(error: &anyhow::Error) -> String {
    joined(error.chain().map(ToString::to_string))
}

/// What caused a status; none if the controller itself answered with it.
pub(super) fn causes(status: &tonic::Status) -> Option<String> {
    let mut next = Some(status.source()?);
    let chain = std::iter::from_fn(|| {
        let error = next?;
        next = error.source();
        Some(error.to_string())
    });
    Some(joined(chain))
}

/// Sentences, without those that the one before has said already: an error's text often ends with its cause's.
fn joined(sentences: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for sentence in sentences {
        if text.is_empty() {
            text = sentence;
        } else if !text.ends_with(&sentence) {
            text = format!("{text}: {sentence}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("alert: UnknownCA")]
    struct Alert;

    #[test]
    fn a_cause_is_told_once() {
        let doubled = std::io::Error::other(Alert);
        assert_eq!(doubled.to_string(), Alert.to_string(), "which is why");
        let error = anyhow::Error::new(doubled).context("no connection to https://a:1");
        assert_eq!(
            told(&error),
            "no connection to https://a:1: alert: UnknownCA"
        );
    }

    #[test]
    fn what_a_controller_says_has_no_cause_and_a_broken_connection_has() {
        assert_eq!(causes(&tonic::Status::permission_denied("no")), None);
        let broken = tonic::Status::from_error(Box::new(std::io::Error::other(Alert)));
        assert_eq!(causes(&broken), Some("alert: UnknownCA".to_owned()));
    }
}
