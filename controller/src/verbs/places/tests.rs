//! A client that asks for too much takes nothing from the others, and gets back what it closes.

use super::{CLIENT_WATCHES_MAX, Places};
use crate::identity::Caller;
use crate::status::RequestError;

#[test]
fn one_client_has_a_bound_of_its_own() {
    let places = Places::default();
    let olga = Caller::Operator("olga".to_owned());
    let mut open: Vec<_> = (0..CLIENT_WATCHES_MAX)
        .map(|_| places.take(&olga).expect("a place"))
        .collect();
    let refused = places.take(&olga).expect_err("too many");
    assert!(matches!(refused, RequestError::Exhausted(_)), "{refused}");
    assert!(
        refused
            .to_string()
            .contains("this client has 1000 watches open"),
        "{refused}"
    );
    places
        .take(&Caller::Operator("peter".to_owned()))
        .expect("another client's places are its own");
    open.pop();
    open.push(places.take(&olga).expect("the place that was given back"));
    drop(open);
    assert_eq!(places.0.lock().expect("the lock").all, 0);
    assert!(places.0.lock().expect("the lock").clients.is_empty());
}

#[test]
fn programs_of_this_machine_do_not_share_the_bound_of_one() {
    let places = Places::default();
    let open: Vec<_> = (0..CLIENT_WATCHES_MAX + 1)
        .map(|_| places.take(&Caller::Local).expect("a place"))
        .collect();
    assert_eq!(places.0.lock().expect("the lock").all, open.len());
    drop(open);
    assert_eq!(places.0.lock().expect("the lock").all, 0);
}
