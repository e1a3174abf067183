//! What counts as what, and that places come back.

use super::*;

#[test]
fn requests_count_as_what_they_do() {
    for (path, sort) in [
        ("/cellblock.v1.Objects/Get", Sort::Read),
        ("/cellblock.v1.Objects/ListEvents", Sort::Read),
        ("/cellblock.v1.Objects/Apply", Sort::Write),
        ("/cellblock.v1.Objects/Evict", Sort::Write),
        ("/cellblock.v1.Objects/Watch", Sort::Free),
        ("/cellblock.v1.Agents/Session", Sort::Free),
        ("/cellblock.v1.Visits/Visit", Sort::Free),
        ("/grpc.health.v1.Health/Check", Sort::Free),
    ] {
        assert_eq!(of_grpc(path), sort, "{path}");
    }
    let jails = "/apis/cellblock.dev/v1alpha1/jails";
    let one = format!("{jails}/www");
    let allocations = "/apis/cellblock.dev/v1alpha1/allocations";
    for (method, path, is_watch, sort) in [
        (Method::GET, jails, false, Sort::Read),
        (Method::GET, jails, true, Sort::Free),
        (Method::GET, &one, true, Sort::Read),
        (Method::GET, allocations, true, Sort::Read),
        (Method::GET, "/api/v1/events", true, Sort::Free),
        (
            Method::GET,
            "/api/v1/namespaces/default/events",
            true,
            Sort::Free,
        ),
        (Method::GET, "/apis", true, Sort::Read),
        (Method::POST, jails, true, Sort::Write),
        (Method::DELETE, &one, false, Sort::Write),
        (Method::PATCH, &one, false, Sort::Write),
    ] {
        assert_eq!(
            of_rest(&method, path, is_watch),
            sort,
            "{method} {path} {is_watch}"
        );
    }
}

#[test]
fn reads_and_writes_are_bounded_apart_and_places_come_back() {
    let places = InFlight::new();
    let reads: Vec<_> = (0..READS_MAX)
        .map(|_| places.take(Sort::Read).expect("a place"))
        .collect();
    let full = places.take(Sort::Read).expect_err("there is none");
    assert!(full.to_string().contains("400"), "{full}");
    let writes: Vec<_> = (0..WRITES_MAX)
        .map(|_| places.take(Sort::Write).expect("a place"))
        .collect();
    assert!(places.take(Sort::Write).is_err());
    assert!(places.take(Sort::Free).expect("always").is_none());
    drop(reads);
    assert!(places.take(Sort::Write).is_err());
    places.take(Sort::Read).expect("it is free again");
    drop(writes);
    places.take(Sort::Write).expect("it is free again");
}

#[tokio::test(start_paused = true)]
async fn what_is_never_whole_gives_its_place_back() {
    let places = InFlight::new();
    let mut stalled = tokio::task::JoinSet::new();
    for _ in 0..WRITES_MAX {
        let refused = |error: RequestError| {
            assert!(matches!(error, RequestError::TimedOut(60)), "{error}");
            Response::default()
        };
        let answering = std::future::pending();
        stalled.spawn(places.clone().bounded(Sort::Write, answering, refused));
    }
    tokio::time::sleep(PATIENCE / 2).await;
    assert!(places.take(Sort::Write).is_err(), "all are taken");
    tokio::time::sleep(PATIENCE).await;
    places.take(Sort::Write).expect("it is free again");
    let answered = tokio::time::timeout(PATIENCE, stalled.join_all()).await;
    assert_eq!(answered.expect("all are answered").len(), WRITES_MAX);
}
