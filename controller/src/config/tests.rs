//! Where a setting comes from, and what is refused.

use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("room for it");
    file
}

fn with(path: &Path) -> Flags {
    Flags {
        config: Some(path.to_owned()),
        ..Flags::default()
    }
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = file("listen = \"127.0.0.1:1\"\nlog = \"debug\"\n");
    let flags = Flags {
        listen: Some("127.0.0.1:2".parse().expect("an address")),
        ..with(file.path())
    };
    let settings = Settings::resolve(flags).expect("it is right");
    assert_eq!(settings.config.listen.port(), 2);
    assert_eq!(settings.log, "debug");
    assert_eq!(settings.log_format, LogFormat::Text);
    let StoreConfig::Embedded(options) = settings.config.store else {
        panic!("the default is one file");
    };
    assert_eq!(options.path, Path::new("/var/db/cellblockd/store.redb"));
}

#[test]
fn nobody_beyond_the_machine_is_served_unless_that_is_asked_for() {
    let settings = Settings::resolve(Flags::default()).expect("the defaults are right");
    let loopback = "127.0.0.1:7443".parse().expect("an address");
    assert_eq!(settings.config.listen, loopback);
}

#[test]
fn the_sample_is_right() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/rc.d/cellblockd.toml.sample");
    let settings = Settings::resolve(with(Path::new(sample))).expect("it is right");
    assert_eq!(settings.config.listen.port(), 7443);
    assert!(settings.config.listen.ip().is_loopback());
}

#[test]
fn an_unknown_key_names_file_and_key() {
    let file = file("lisen = \"127.0.0.1:1\"\n");
    let error = Settings::resolve(with(file.path())).expect_err("a typing error");
    let source = std::error::Error::source(&error)
        .expect("the parser's words")
        .to_string();
    assert!(source.contains("lisen"), "{source}");
}

#[test]
fn beyond_loopback_needs_certificates() {
    let flags = Flags {
        listen: Some("0.0.0.0:7443".parse().expect("an address")),
        ..Flags::default()
    };
    let error = Settings::resolve(flags).expect_err("exposed");
    assert!(matches!(error, ConfigError::Exposed(_)), "{error}");
}

#[test]
fn a_store_is_a_file_or_etcd() {
    let etcd = Flags {
        store: Some("etcd:http://a:2379, http://b:2379".to_owned()),
        ..Flags::default()
    };
    let StoreConfig::Etcd(options) = Settings::resolve(etcd).expect("it is right").config.store
    else {
        panic!("etcd was named");
    };
    assert_eq!(options.endpoints, ["http://a:2379", "http://b:2379"]);
    for wrong in ["etcd:", "embedded:", "redis://x", ""] {
        let flags = Flags {
            store: Some(wrong.to_owned()),
            ..Flags::default()
        };
        assert!(
            matches!(Settings::resolve(flags), Err(ConfigError::Store(_))),
            "{wrong}"
        );
    }
}

#[test]
fn half_of_what_belongs_together_is_refused() {
    let flags = Flags {
        tls_key: Some("key".into()),
        ..Flags::default()
    };
    assert!(matches!(
        Settings::resolve(flags),
        Err(ConfigError::Incomplete(_))
    ));
}

#[test]
fn credentials_in_the_url_of_a_store_are_refused_and_not_repeated() {
    for url in [
        "etcd:http://olga:s3cret@127.0.0.1:2379",
        "etcd:https://127.0.0.1:2379, https://olga:s3cret@127.0.0.1:2380/",
        "etcd:olga:s3cret@127.0.0.1:2379",
        "etcd://olga:s3cret@10.0.0.1:2379",
        "etcd:http://olga:s3cret/w@127.0.0.1:2379",
        "etcd:http://127.0.0.1:2379/?olga:s3cret@",
    ] {
        let flags = Flags {
            store: Some(url.to_owned()),
            ..Flags::default()
        };
        let refused = Settings::resolve(flags).expect_err(url).to_string();
        assert!(refused.contains("etcd.password_file"), "{refused}");
        assert!(!refused.contains("s3cret"), "{refused}");
    }
    let flags = Flags {
        store: Some("etcd:http://127.0.0.1:2379,http://[::1]:2379".to_owned()),
        ..Flags::default()
    };
    let settings = Settings::resolve(flags).expect("no credentials");
    // Nobody beyond this machine is listened to unless that is said.
    assert_eq!(
        settings.config.listen,
        "127.0.0.1:7443".parse().expect("an address")
    );
}
