//! What a web page could send is told from what kubectl sends.

use axum::http::{HeaderMap, HeaderValue, Uri};

use super::{action, browser};
use crate::authorise::Action;

fn refused(secured: bool, uri: &str, headers: &[(&'static str, &'static str)]) -> bool {
    let uri: Uri = uri.parse().expect("a URI");
    let pairs = headers.iter();
    let headers: HeaderMap = pairs
        .map(|(name, value)| {
            let name = name.parse().expect("a header's name");
            (name, HeaderValue::from_static(value))
        })
        .collect();
    browser(secured, &uri, &headers).is_some()
}

#[test]
fn a_page_is_refused_and_a_program_is_not() {
    for host in [
        "localhost:7443",
        "127.0.0.1:7443",
        "[::1]:7443",
        "LOCALHOST",
        "127.0.0.2",
    ] {
        assert!(!refused(false, "/apis", &[("host", host)]), "{host}");
        assert!(refused(
            false,
            "/apis",
            &[("host", host), ("origin", "http://localhost:7443")]
        ));
        assert!(refused(
            false,
            "/apis",
            &[("host", host), ("sec-fetch-mode", "no-cors")]
        ));
    }
    for host in [
        "evil.example.org:7443",
        "127.0.0.1.example.org",
        "10.0.0.1:7443",
        "",
    ] {
        assert!(refused(false, "/apis", &[("host", host)]), "{host}");
    }
    assert!(refused(false, "/apis", &[]));
    assert!(
        !refused(false, "http://127.0.0.1:7443/apis", &[]),
        "as HTTP/2 says it"
    );
    assert!(refused(
        false,
        "http://evil.example.org/apis",
        &[("host", "127.0.0.1")]
    ));
    assert!(!refused(
        true,
        "/apis",
        &[("host", "controller.example.org")]
    ));
    assert!(refused(
        true,
        "/apis",
        &[("origin", "https://evil.example.org")]
    ));
}

#[test]
fn a_path_says_what_is_wanted() {
    for (path, wanted) in [
        ("/readyz", Action::Health),
        ("/metrics", Action::Metrics),
        (
            "/openapi/v3/apis/cellblock.dev/v1alpha1",
            Action::Reflection,
        ),
        ("/api", Action::Reflection),
        ("/apis/cellblock.dev/v1alpha1", Action::Reflection),
        ("/apis/cellblock.dev/v1alpha1/jails", Action::Objects),
        (
            "/apis/cellblock.dev/v1alpha1/jails/www/status",
            Action::Objects,
        ),
        ("/whatever", Action::Objects),
    ] {
        assert_eq!(action(path), wanted, "{path}");
    }
}
