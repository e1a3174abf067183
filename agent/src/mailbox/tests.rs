use std::sync::Arc;
use std::time::Duration;

use cellblock_schemas::ids::Generation;
use cellblock_schemas::view::HostView;

use super::{Found, mailbox};

fn view(generation: u64) -> Arc<HostView> {
    let mut view = HostView::default();
    view.mark.generation = Generation(generation);
    Arc::new(view)
}

#[test]
fn only_the_newest_view_is_kept() {
    let (sender, receiver) = mailbox();
    let first = view(1);
    sender.send(first.clone(), "a".to_owned());
    sender.send(view(2), "b".to_owned());
    assert_eq!(Arc::strong_count(&first), 1, "nobody holds the older one");
    assert_eq!(
        receiver.receive(Duration::ZERO),
        Found::View((view(2), "b".to_owned()))
    );
    assert_eq!(receiver.receive(Duration::ZERO), Found::Nothing);
}

#[test]
fn a_waiting_worker_is_woken_by_a_view_and_by_the_end() {
    let (sender, receiver) = mailbox();
    let waiting = std::thread::spawn(move || {
        let found = receiver.receive(Duration::from_secs(60));
        (found, receiver.receive(Duration::from_secs(60)))
    });
    sender.send(view(7), String::new());
    // The end does not wait for what was left to be fetched: the ledger has the view before, and the controller the newest.
    while Arc::strong_count(&sender.0) > 1 && sender.0.lock().newest.is_some() {
        std::thread::yield_now();
    }
    drop(sender);
    let (first, second) = waiting.join().expect("it does not panic");
    assert_eq!(first, Found::View((view(7), String::new())));
    assert_eq!(second, Found::Closed);
}
