//! Messages of a stream become one notice per transaction, whatever way etcd cuts them.

use etcd_client::proto::{PbEvent, PbKeyValue, PbResponseHeader};

use super::*;

fn put(key: &str, revision: i64) -> PbEvent {
    let stored = PbKeyValue {
        key: key.into(),
        create_revision: revision,
        mod_revision: revision,
        ..Default::default()
    };
    PbEvent {
        r#type: 0,
        kv: Some(stored),
        prev_kv: None,
    }
}

fn message(revision: i64, fragment: bool, events: Vec<PbEvent>) -> PbWatchResponse {
    let header = Some(PbResponseHeader {
        revision,
        ..Default::default()
    });
    PbWatchResponse {
        header,
        fragment,
        events,
        ..Default::default()
    }
}

fn shape(notices: &[Notice]) -> Vec<(u64, Vec<String>)> {
    let keys = |notice: &Notice| match notice {
        Notice::Changes { events, .. } => {
            events.iter().map(|event| event.key().to_string()).collect()
        }
        Notice::Progress { .. } => Vec::new(),
    };
    notices
        .iter()
        .map(|notice| (notice.revision().0, keys(notice)))
        .collect()
}

#[test]
fn several_transactions_in_one_message_are_told_apart_and_ordered() {
    let mut assembly = Assembly::new(Revision(5));
    let notices = assembly.take(message(
        7,
        false,
        vec![put("old", 5), put("b", 6), put("a", 6), put("c", 7)],
    ));
    assert_eq!(
        shape(&notices),
        [
            (6, vec!["a".to_owned(), "b".to_owned()]),
            (7, vec!["c".to_owned()])
        ]
    );
    assert_eq!(assembly.after, Revision(7));
}

#[test]
fn a_transaction_in_fragments_is_delivered_whole() {
    let mut assembly = Assembly::new(Revision(1));
    assert_eq!(
        shape(&assembly.take(message(3, true, vec![put("a", 2), put("a", 3)]))),
        [(2, vec!["a".to_owned()])]
    );
    assert_eq!(
        shape(&assembly.take(message(3, true, vec![put("b", 3)]))),
        []
    );
    let notices = assembly.take(message(3, false, vec![put("c", 3)]));
    assert_eq!(
        shape(&notices),
        [(3, vec!["a".to_owned(), "b".to_owned(), "c".to_owned()])]
    );
}

#[test]
fn a_broken_fragment_is_fetched_again() {
    let mut assembly = Assembly::new(Revision(1));
    assert_eq!(
        shape(&assembly.take(message(2, true, vec![put("a", 2)]))),
        []
    );
    assembly.restart();
    let notices = assembly.take(message(2, false, vec![put("a", 2), put("b", 2)]));
    assert_eq!(shape(&notices), [(2, vec!["a".to_owned(), "b".to_owned()])]);
}

#[test]
fn an_empty_message_is_progress_but_its_creation_is_not() {
    let mut assembly = Assembly::new(Revision(4));
    let created = PbWatchResponse {
        created: true,
        ..message(9, false, Vec::new())
    };
    assert_eq!(shape(&assembly.take(created)), []);
    assert_eq!(
        shape(&assembly.take(message(9, false, Vec::new()))),
        [(9, Vec::new())]
    );
    assert_eq!(shape(&assembly.take(message(9, false, Vec::new()))), []);
}
