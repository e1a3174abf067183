//! Lists in pages.

use std::collections::BTreeSet;

use bytes::Bytes;
use cellblock_store::{Key, ListRequest, PageToken, SharedStore, StoreExt};

use crate::support::{create, soon};

pub(crate) async fn pages_fit_together_while_writes_go_on(store: SharedStore) {
    for n in 0..50 {
        create(&store, &format!("/p/{n:02}"), "old").await;
    }
    let before = create(&store, "/other", "x").await;
    let mut request = ListRequest::new("/p/").limit(7);
    let mut keys = Vec::new();
    loop {
        let page = store.list(request.clone()).await.expect("listed");
        assert_eq!(page.revision, before);
        assert!(page.items.len() <= 7);
        assert!(
            page.items
                .iter()
                .all(|item| item.value == "old" && item.modified < before)
        );
        keys.extend(page.items.into_iter().map(|item| item.key.to_string()));
        // Behind the list, before it and where it is: written, deleted, added.
        let n = keys.len();
        store
            .commit(cellblock_store::Transaction::new().put(format!("/p/{:02}", n % 50), "new"))
            .await
            .expect("put");
        store
            .delete(format!("/p/{:02}", (n + 20) % 50), None)
            .await
            .expect("deleted");
        create(&store, &format!("/p/{n:02}-added"), "added").await;
        match page.next {
            Some(token) => request = ListRequest::new("/p/").limit(7).after(token),
            None => break,
        }
    }
    let expected: Vec<String> = (0..50).map(|n| format!("/p/{n:02}")).collect();
    assert_eq!(keys, expected);
}

pub(crate) async fn a_list_shows_what_has_been_deleted_since(store: SharedStore) {
    create(&store, "/a", "1").await;
    let then = create(&store, "/b", "1").await;
    store.delete("/a", None).await.expect("deleted");
    store.update("/b", then, "2").await.expect("updated");
    create(&store, "/c", "1").await;
    let page = store
        .list(ListRequest::new("/").at(then))
        .await
        .expect("listed");
    let items: Vec<_> = page
        .items
        .iter()
        .map(|item| (item.key.to_string(), item.value.clone()))
        .collect();
    assert_eq!(
        items,
        [
            ("/a".to_owned(), Bytes::from("1")),
            ("/b".to_owned(), Bytes::from("1"))
        ]
    );
    assert_eq!(page.revision, then);
    assert_eq!(store.count(&Key::from("/"), Some(then)).await, Ok(2));
    assert_eq!(store.count(&Key::from("/"), None).await, Ok(2));
    let keys: Vec<_> = store
        .list_all("/")
        .await
        .expect("listed")
        .0
        .into_iter()
        .map(|item| item.key)
        .collect();
    assert_eq!(keys, [Key::from("/b"), Key::from("/c")]);
}

pub(crate) async fn the_last_page_has_no_next(store: SharedStore) {
    let nothing = store.list(ListRequest::new("/p/")).await.expect("listed");
    assert_eq!((nothing.items.len(), nothing.next), (0, None));
    for n in 0..4 {
        create(&store, &format!("/p/{n}"), "v").await;
    }
    create(&store, "/q", "v").await;
    let first = store
        .list(ListRequest::new("/p/").limit(2))
        .await
        .expect("listed");
    assert_eq!(first.items.len(), 2);
    let second = store
        .list(
            ListRequest::new("/p/")
                .limit(2)
                .after(first.next.expect("more")),
        )
        .await
        .expect("listed");
    assert_eq!((second.items.len(), second.next), (2, None));
    let one = store
        .list(ListRequest::new("/p/").limit(0))
        .await
        .expect("a limit of nothing counts as one");
    assert_eq!(one.items.len(), 1);
    let all = store
        .list(ListRequest::new("/p/").limit(usize::MAX))
        .await
        .expect("listed");
    assert_eq!((all.items.len(), all.next), (4, None));
}

/// More than tonic decodes by default (4 MiB), and more than a page holds.
pub(crate) async fn pages_of_large_values_are_cut(store: SharedStore) {
    let value = Bytes::from(vec![b'x'; 1_000_000]);
    for n in 0..24 {
        store
            .create(format!("/big/{n:02}"), value.clone())
            .await
            .expect("created");
    }
    let first = soon("a page", store.list(ListRequest::new("/big/")))
        .await
        .expect("listed");
    assert!(
        first.items.len() < 24 && first.next.is_some(),
        "{} items",
        first.items.len()
    );
    let (items, _) = soon("all pages", store.list_all("/big/"))
        .await
        .expect("listed");
    let keys: BTreeSet<_> = items.iter().map(|item| item.key.to_string()).collect();
    assert_eq!((items.len(), keys.len()), (24, 24));
    assert!(items.iter().all(|item| item.value == value));
}

pub(crate) async fn prefixes_end_where_they_should(store: SharedStore) {
    let keys: [&[u8]; 9] = [
        b"a",
        b"a/",
        b"a/b",
        b"a0",
        b"a\xff",
        b"a\xff\x01",
        b"b",
        b"\xff",
        b"\xff\xff\x01",
    ];
    for key in keys {
        store.create(key, "v").await.expect("created");
    }
    let cases: [(&[u8], &[&[u8]]); 7] = [
        (
            b"",
            &[
                b"a",
                b"a/",
                b"a/b",
                b"a0",
                b"a\xff",
                b"a\xff\x01",
                b"b",
                b"\xff",
                b"\xff\xff\x01",
            ],
        ),
        (b"a", &[b"a", b"a/", b"a/b", b"a0", b"a\xff", b"a\xff\x01"]),
        (b"a/", &[b"a/", b"a/b"]),
        (b"a\xff", &[b"a\xff", b"a\xff\x01"]),
        (b"\xff", &[b"\xff", b"\xff\xff\x01"]),
        (b"\xff\xff", &[b"\xff\xff\x01"]),
        (b"c", &[]),
    ];
    for (prefix, expected) in cases {
        let expected: Vec<Key> = expected.iter().map(|key| Key::from(*key)).collect();
        let prefix = Key::from(prefix);
        let count = store.count(&prefix, None).await.expect("counted");
        assert_eq!(count, expected.len() as u64, "{prefix}");
        let (items, _) = store.list_all(&prefix).await.expect("listed");
        let keys: Vec<Key> = items.into_iter().map(|item| item.key).collect();
        assert_eq!(keys, expected, "{prefix}");
        let mut pages = Vec::new();
        let mut request = ListRequest::new(&prefix).limit(1);
        loop {
            let page = store.list(request.clone()).await.expect("listed");
            pages.extend(page.items.into_iter().map(|item| item.key));
            match page.next {
                Some(token) => request = request.after(token),
                None => break,
            }
        }
        assert_eq!(pages, expected, "{prefix} one by one");
    }
}

pub(crate) async fn a_token_survives_its_text_form(store: SharedStore) {
    for key in [&b"/p/\xff"[..], b"/p/\xff\x00", b"/p/\xff\xff"] {
        store.create(key, "v").await.expect("created");
    }
    let first = store
        .list(ListRequest::new("/p/").limit(1))
        .await
        .expect("listed");
    let token: PageToken = first
        .next
        .expect("more")
        .to_string()
        .parse()
        .expect("well-formed");
    let rest = store
        .list(ListRequest::new("/p/").after(token))
        .await
        .expect("listed");
    assert_eq!(rest.items.len(), 2);
    // A token of one list used for another prefix shows nothing from outside that prefix.
    let token = PageToken {
        revision: first.revision,
        last_key: Key::from("/z"),
    };
    assert_eq!(
        store
            .list(ListRequest::new("/p/").after(token))
            .await
            .expect("listed")
            .items,
        []
    );
    let token = PageToken {
        revision: first.revision,
        last_key: Key::from("/a"),
    };
    assert_eq!(
        store
            .list(ListRequest::new("/p/").after(token))
            .await
            .expect("listed")
            .items
            .len(),
        3
    );
}
