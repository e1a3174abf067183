//! Who wins, and what is refused.

use super::*;

fn options(text: &str) -> (tempfile::TempDir, Options) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, text).expect("written");
    (
        folder,
        Options {
            config: Some(path),
            ..Options::default()
        },
    )
}

#[test]
fn the_command_line_wins_over_the_file_and_the_file_over_the_default() {
    let (_folder, options) = options("host_name = \"from-file\"\nresync_seconds = 5\n");
    let config = Config::resolve(Options {
        host_name: Some("from-line".to_owned()),
        ..options
    })
    .expect("good");
    assert_eq!(
        (
            config.host_name.as_str(),
            config.resync_seconds,
            config.log.as_str()
        ),
        ("from-line", 5, "info")
    );
    assert_eq!(config.folder(), "/var/db/cellblock");
}

#[test]
fn bad_values_are_named() {
    for (text, expected) in [
        ("hostname = \"x\"\n", "unknown field `hostname`"),
        ("resync_seconds = 0\n", "resync_seconds must be at least 1"),
        ("controllers = [\"https://c:1\"]\n", "wants TLS"),
        ("controllers = [\"c:1\"]\n", "is no URL"),
        ("state_dir = \"x\"\n", "absolute path"),
        (
            "controllers = [\"http://127.0.0.1:1\"]\n[tls]\nca = \"a\"\ncertificate = \"b\"\nkey = \"c\"\n",
            "says http:// and there is [tls]",
        ),
    ] {
        let (_folder, options) = options(text);
        let error = format!("{:#}", Config::resolve(options).expect_err("refused"));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn controllers_in_clear_text_beyond_this_machine_are_known() {
    let near = ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"];
    let far = [
        "http://192.0.2.1:1",
        "http://[2001:db8::1]:1",
        "http://controller.example.org:1",
    ];
    let quoted: Vec<String> = near
        .iter()
        .chain(&far)
        .map(|url| format!("\"{url}\""))
        .collect();
    let (_folder, options) = options(&format!("controllers = [{}]\n", quoted.join(", ")));
    let config = Config::resolve(options).expect("good");
    assert_eq!(config.in_clear_text().collect::<Vec<_>>(), far);
}

#[test]
fn the_sample_configuration_is_read() {
    let text = include_str!("../../rc.d/agent.toml.sample");
    let (_folder, options) = options(text);
    Config::resolve(options).expect("the sample is good as it stands");
    let uncommented: String = text
        .lines()
        .filter_map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            (bare.contains(" = ") || bare.starts_with('[')).then(|| format!("{bare}\n"))
        })
        .collect();
    let parsed: Result<ConfigFile, _> = toml::from_str(&uncommented);
    assert!(parsed.is_ok_and(|file| file.tls.is_some()), "{uncommented}");
}
