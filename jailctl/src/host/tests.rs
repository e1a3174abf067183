//! A write that meets somebody else's.

use cellblock_agent_core::residue::RESIDUE;

use super::{CONFLICT, TRIES_MAX, until_unchanged};
use crate::client::Refused;

fn refused(reason: &str) -> Refused {
    Refused {
        reason: reason.to_owned(),
        message: "it is at 31, not at 13".to_owned(),
        violations: Vec::new(),
    }
}

/// How often it was tried, and whether it worked in the end, when the first `failures` tries are refused for `reason`.
async fn tried(reason: &str, failures: u32) -> (u32, bool) {
    let mut count = 0;
    let result = until_unchanged(async || {
        count += 1;
        if count <= failures {
            Err(refused(reason))
        } else {
            Ok(())
        }
    })
    .await;
    (count, result.is_ok())
}

#[tokio::test]
async fn a_host_that_its_agent_reports_on_meanwhile_is_read_again() {
    assert_eq!(tried(CONFLICT, 2).await, (3, true));
    assert_eq!(tried(CONFLICT, TRIES_MAX).await, (TRIES_MAX, false));
    assert_eq!(tried("NotFound", 1).await, (1, false));
}

#[test]
fn the_book_shows_what_stays_as_it_is_printed() {
    let book = include_str!("../../../docs/hosts.md");
    for (what, why) in RESIDUE {
        let line = format!("\n{what}: {why}\n");
        assert!(book.contains(&line), "docs/hosts.md has not:{line}");
    }
}
