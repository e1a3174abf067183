//! Contexts that come and go.

use super::*;

fn entry(port: u16) -> ContextEntry {
    ContextEntry {
        server: format!("http://127.0.0.1:{port}"),
        ..ContextEntry::default()
    }
}

#[test]
fn a_context_is_taken_out_by_whoever_wrote_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let connection = Connection {
        config: Some(folder.path().join("new/jailctl.toml")),
        ..Connection::default()
    };
    let path = connection.store("sandbox", &entry(1)).expect("written");
    connection.store("sandbox", &entry(2)).expect("written");
    connection.forget("sandbox", &entry(1)).expect("read");
    let contexts = read(&path).expect("read").contexts;
    assert_eq!(
        contexts.get("sandbox"),
        Some(&entry(2)),
        "another sandbox's"
    );
    connection.forget("sandbox", &entry(2)).expect("written");
    assert!(read(&path).expect("read").contexts.is_empty());
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
