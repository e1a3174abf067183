//! Options that cannot work are refused before anything is connected to.

use super::*;

fn files() -> TlsFiles {
    TlsFiles {
        ca: "/nonexistent/ca.pem".into(),
        identity: None,
        server_name: None,
    }
}

#[test]
fn endpoints_must_exist_and_have_a_scheme() {
    assert!(matches!(
        EtcdOptions::new::<&str>([]).check(),
        Err(Error::Invalid(_))
    ));
    assert!(matches!(
        EtcdOptions::new(["localhost:2379"]).check(),
        Err(Error::Invalid(_))
    ));
    assert_eq!(EtcdOptions::new(["http://localhost:2379"]).check(), Ok(()));
}

#[test]
fn certificates_and_schemes_must_fit() {
    let mut options = EtcdOptions::new(["https://localhost:2379"]);
    assert!(matches!(options.check(), Err(Error::Invalid(_))));
    options.tls = Some(files());
    assert_eq!(options.check(), Ok(()));
    options.endpoints.push("http://localhost:2380".to_owned());
    assert!(matches!(options.check(), Err(Error::Invalid(_))));
}

#[test]
fn a_missing_certificate_is_named() {
    let mut options = EtcdOptions::new(["https://localhost:2379"]);
    options.tls = Some(files());
    let error = options
        .connect_options()
        .expect_err("there is no such file");
    assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");
}

#[test]
fn a_password_is_not_shown() {
    let mut options = EtcdOptions::new(["http://localhost:2379"]);
    options.user = Some(("root".to_owned(), Password::new("secret")));
    assert!(!format!("{options:?}").contains("secret"));
}
