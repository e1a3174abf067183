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
    ] {
        let (_folder, options) = options(text);
        let error = format!("{:#}", Config::resolve(options).expect_err("refused"));
        assert!(error.contains(expected), "{error}");
    }
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
