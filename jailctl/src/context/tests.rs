//! Contexts that come and go.

use super::*;

fn entry(port: u16) -> ContextEntry {
    ContextEntry {
        server: format!("http://127.0.0.1:{port}"),
        ..ContextEntry::default()
    }
}

fn nothing(_: &str) -> Option<String> {
    None
}

#[test]
fn a_sandbox_touches_no_file_of_the_operators_and_leaves_none() {
    let home = tempfile::tempdir().expect("a folder");
    let connection = Connection {
        config: Some(home.path().join("new/deep/jailctl.toml")),
        ..Connection::default()
    };
    let first = connection.lend(&entry(1)).expect("lent");
    let second = connection.lend(&entry(2)).expect("lent");
    assert_eq!((first.name(), second.name()), ("sandbox", "sandbox-2"));
    let server = |name: &str| {
        let named = Connection {
            context: Some(name.to_owned()),
            ..connection.clone()
        };
        named.chosen(nothing).map(|chosen| chosen.server)
    };
    for (name, number) in [("sandbox", 1), ("sandbox-2", 2)] {
        assert_eq!(server(name).ok(), Some(entry(number).server), "{name}");
    }
    second.give_back().expect("removed");
    assert!(server("sandbox").is_ok(), "the first still runs");
    let unknown = server("sandbox-2").expect_err("it has ended").to_string();
    assert!(
        unknown.contains("there is no configuration file"),
        "{unknown}"
    );
    first.give_back().expect("removed");
    let left = std::fs::read_dir(home.path()).expect("read").count();
    assert_eq!(left, 0, "folders are left");
}

#[test]
fn a_sandbox_takes_the_name_of_one_that_was_killed_and_not_one_of_the_operators() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("jailctl.toml");
    let connection = Connection {
        config: Some(config.clone()),
        ..Connection::default()
    };
    // A process that is killed lets go of its lock and leaves its file.
    drop(connection.lend(&entry(1)).expect("lent"));
    let after = connection.lend(&entry(2)).expect("lent");
    assert_eq!(after.name(), "sandbox");
    let text = std::fs::read_to_string(after.path()).expect("read");
    assert_eq!(text, "server = \"http://127.0.0.1:2\"\n");
    after.give_back().expect("removed");

    let own = "# mine\n[contexts.sandbox]\nserver = \"http://127.0.0.1:9\"\n";
    std::fs::write(&config, own).expect("written");
    let beside = connection.lend(&entry(3)).expect("lent");
    assert_eq!(beside.name(), "sandbox-2");
    beside.give_back().expect("removed");
    assert_eq!(std::fs::read_to_string(&config).expect("read"), own);
}

#[test]
fn a_file_that_is_named_and_missing_is_an_error() {
    let missing = Connection {
        config: Some("/nonexistent/jailctl.toml".into()),
        ..Connection::default()
    };
    let error = missing.chosen(nothing).expect_err("refused").to_string();
    assert!(
        error.contains("no configuration file /nonexistent/jailctl.toml"),
        "{error}"
    );
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("jailctl.toml");
    let text = "current-context = \"first\"\n[contexts.first]\nserver = \"http://127.0.0.1:1\"\n[contexts.second]\nserver = \"http://127.0.0.1:2\"\n";
    std::fs::write(&config, text).expect("written");
    let chosen = |context: Option<&str>, server: Option<&str>, variables: &[(&str, &str)]| {
        let connection = Connection {
            context: context.map(str::to_owned),
            server: server.map(str::to_owned),
            config: Some(config.clone()),
        };
        let environment = |name: &str| {
            let mut found = variables.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| (*value).to_owned())
        };
        connection
            .chosen(environment)
            .map(|entry| {
                entry
                    .server
                    .trim_start_matches("http://127.0.0.1:")
                    .to_owned()
            })
            .map_err(|error| error.to_string())
    };
    let server = [("JAILCTL_SERVER", "http://127.0.0.1:3")];
    assert_eq!(chosen(None, None, &[]), Ok("1".to_owned()));
    assert_eq!(
        chosen(None, None, &[("JAILCTL_SERVER", "")]),
        Ok("1".to_owned())
    );
    assert_eq!(
        chosen(None, None, &[("JAILCTL_CONTEXT", "second")]),
        Ok("2".to_owned())
    );
    assert_eq!(chosen(None, None, &server), Ok("3".to_owned()));
    assert_eq!(chosen(Some("second"), None, &server), Ok("2".to_owned()));
    assert_eq!(
        chosen(None, Some("http://127.0.0.1:4"), &server),
        Ok("4".to_owned())
    );
    let unknown = chosen(Some("nope"), None, &server).expect_err("refused");
    assert!(
        unknown.contains("has no context `nope` (it has: first, second)"),
        "{unknown}"
    );
}
