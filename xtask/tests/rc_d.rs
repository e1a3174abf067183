//! Tests of the rc.d scripts and of the samples beside them, as far as a machine without FreeBSD can run them: their
//! syntax, the names that they order themselves by, and the command line that they would start.
//!
//! rc.subr(8) itself is FreeBSD's; a few lines of shell stand in for it here and print what they were asked to run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The scripts, with the program that each one starts.
const SCRIPTS: [(&str, &str); 2] = [
    (
        "agent/rc.d/cellblock_agent",
        "/usr/local/sbin/cellblock-agent",
    ),
    ("controller/rc.d/cellblockd", "/usr/local/sbin/cellblockd"),
];

/// The script that starts no program.
const JAILS: &str = "agent/rc.d/cellblock_jails";

/// The conditions of FreeBSD's own rc.d scripts that ours may name: `PROVIDE` lines in libexec/rc/rc.d of 15.1.
const BASE_CONDITIONS: [&str; 18] = [
    "DAEMON",
    "FILESYSTEMS",
    "LOGIN",
    "NETWORKING",
    "SERVERS",
    "cleanvar",
    "devfs",
    "hostid",
    "jail",
    "kld",
    "netif",
    "ntpdate",
    "pf",
    "routing",
    "securelevel",
    "sysctl",
    "syslogd",
    "zfs",
];

/// The keywords of rc(8).
const KEYWORDS: [&str; 7] = [
    "firstboot",
    "nojail",
    "nojailvnet",
    "nostart",
    "resume",
    "shutdown",
    "suspend",
];

/// What stands in for rc.subr(8): the settings of a test, and a printout instead of a start.
const STAND_IN: &str = r#"
err() { shift; echo "err: $*" >&2; exit 1; }
load_rc_config() { eval "$SETTINGS"; }
run_rc_command() {
    eval "flags=\$${name}_flags"
    echo "$1: rcvar=$rcvar files=$required_files pidfile=$pidfile"
    echo "$command $flags $command_args"
}
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// The words behind `# KEY:` lines, as rcorder(8) reads them.
fn header<'a>(script: &'a str, key: &'a str) -> Vec<&'a str> {
    script
        .lines()
        .filter_map(|line| {
            line.strip_prefix("# ")?
                .strip_prefix(key)?
                .strip_prefix(':')
        })
        .flat_map(str::split_whitespace)
        .collect()
}

/// What the script would run, with the settings of an rc.conf.
fn started(path: &str, settings: &str) -> Result<String> {
    let script = read(path)?.replacen(". /etc/rc.subr", STAND_IN, 1);
    let output = Command::new("sh")
        .args(["-eu", "-c", &script, path, "start"])
        .env("SETTINGS", settings)
        .output()
        .context("cannot start sh")?;
    ensure!(
        output.status.success(),
        "{path}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_scripts_are_executable_and_parse() -> Result<()> {
    for path in SCRIPTS.map(|(path, _)| path).into_iter().chain([JAILS]) {
        use std::os::unix::fs::PermissionsExt as _;
        let file = root().join(path);
        let status = Command::new("sh")
            .arg("-n")
            .arg(&file)
            .status()
            .context("cannot start sh")?;
        ensure!(status.success(), "{path}: sh -n ended with {status}");
        let mode = file
            .metadata()
            .with_context(|| format!("cannot look at {path}"))?
            .permissions()
            .mode();
        ensure!(mode & 0o111 == 0o111, "{path} is not executable");
    }
    Ok(())
}

#[test]
fn the_scripts_name_only_conditions_that_freebsd_has() -> Result<()> {
    for path in SCRIPTS.map(|(path, _)| path).into_iter().chain([JAILS]) {
        let script = read(path)?;
        let name = Path::new(path)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        ensure!(
            header(&script, "PROVIDE") == [name.context("a script has a name")?],
            "{path}: PROVIDE is not the script's name"
        );
        for key in ["REQUIRE", "BEFORE"] {
            for condition in header(&script, key) {
                ensure!(
                    BASE_CONDITIONS.contains(&condition) || condition == "cellblock_agent",
                    "{path}: {key} names {condition}"
                );
            }
        }
        ensure!(
            !header(&script, "REQUIRE").is_empty(),
            "{path}: REQUIRE is missing"
        );
        for keyword in header(&script, "KEYWORD") {
            ensure!(
                KEYWORDS.contains(&keyword),
                "{path}: KEYWORD names {keyword}"
            );
        }
        // Without it rc.shutdown would not stop the daemon before what it depends on.
        ensure!(
            header(&script, "KEYWORD").contains(&"shutdown"),
            "{path}: KEYWORD lacks shutdown"
        );
    }
    Ok(())
}

#[test]
fn the_scripts_start_daemon_with_the_program_and_its_flags_last() -> Result<()> {
    for (path, program) in SCRIPTS {
        let name = path.rsplit('/').next().context("a script has a name")?;
        let text = started(
            path,
            &format!("{name}_flags='--log debug'; {name}_config=/tmp/c.toml"),
        )?;
        let lines: Vec<&str> = text.lines().collect();
        ensure!(
            lines.first()
                == Some(
                    &format!(
                        "start: rcvar={name}_enable files=/tmp/c.toml pidfile=/var/run/{name}.pid"
                    )
                    .as_str()
                ),
            "{text}"
        );
        let line = lines.last().context("a command was printed")?;
        ensure!(line.starts_with("/usr/sbin/daemon  -c -f -H "), "{line}");
        ensure!(
            line.contains(&format!(" -P /var/run/{name}.pid ")),
            "{line}"
        );
        ensure!(
            line.ends_with(&format!("{program} --config /tmp/c.toml --log debug")),
            "{line}"
        );
    }
    Ok(())
}

#[test]
fn the_defaults_are_those_that_the_head_of_the_script_names() -> Result<()> {
    for (path, program) in SCRIPTS {
        let script = read(path)?;
        let text = started(path, "")?;
        ensure!(
            text.trim_end()
                .contains(&format!("{program} --config /usr/local/etc/cellblock/")),
            "{text}"
        );
        for line in script.lines() {
            let Some((variable, default)) = line
                .strip_prefix(": \"${")
                .and_then(|rest| rest.split_once(":="))
            else {
                continue;
            };
            let default = default.trim_end_matches("}\"");
            let said = if default.is_empty() {
                "(default: none"
            } else {
                &format!("(default: {default})")
            };
            ensure!(
                script
                    .lines()
                    .any(|line| line.starts_with(&format!("# {variable}=")) && line.contains(said)),
                "{path}: the head does not say that {variable} is {default:?} by default"
            );
        }
    }
    Ok(())
}

#[test]
fn the_samples_stand_where_the_scripts_and_each_other_say() -> Result<()> {
    for (sample, script) in [
        ("agent/rc.d/agent.toml.sample", "agent/rc.d/cellblock_agent"),
        (
            "controller/rc.d/cellblockd.toml.sample",
            "controller/rc.d/cellblockd",
        ),
    ] {
        let installed = Path::new(sample)
            .file_stem()
            .map(|name| name.to_string_lossy().into_owned());
        let installed = format!(
            "/usr/local/etc/cellblock/{}",
            installed.context("a sample has a name")?
        );
        ensure!(
            read(script)?.contains(&installed),
            "{script} does not read {installed}"
        );
        ensure!(
            read(sample)?.contains(&installed),
            "{sample} does not say where it belongs"
        );
    }
    for (rotation, script) in [
        (
            "agent/rc.d/newsyslog.conf.sample",
            "agent/rc.d/cellblock_agent",
        ),
        (
            "controller/rc.d/newsyslog.conf.sample",
            "controller/rc.d/cellblockd",
        ),
    ] {
        let rotation = read(rotation)?;
        let line = rotation
            .lines()
            .find(|line| !line.starts_with('#'))
            .context("a line for newsyslog")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let (log, pidfile) = (
            words.first().context("a log file")?,
            words.last().context("a pidfile")?,
        );
        let text = started(script, "")?;
        ensure!(
            text.contains(&format!(" -o {log} ")) && text.contains(&format!(" -P {pidfile} ")),
            "{text}"
        );
    }
    Ok(())
}

/// What `service cellblock_jails stop` runs on a host where jls(8) knows the jails of `living`, a name, a line of `meta` and a root each.
fn stopped(confs: &[(&str, &str)], living: &[(&str, &str, &str)]) -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stopped-{}", confs.len()));
    stopped_in(&folder, "", confs, living)
}

/// The same, where `jail -r` of the jail `hanging` never comes to its end.
fn stopped_in(
    folder: &Path,
    hanging: &str,
    confs: &[(&str, &str)],
    living: &[(&str, &str, &str)],
) -> Result<Vec<String>> {
    let jails = folder.join("jails");
    if folder.exists() {
        std::fs::remove_dir_all(folder).context("an earlier run's folder stays")?;
    }
    std::fs::create_dir_all(&jails).context("no folder for jails")?;
    for (name, text) in confs {
        std::fs::write(jails.join(format!("{name}.conf")), text).context("no jail.conf")?;
    }
    let mut cases = String::new();
    for (name, meta, path) in living {
        cases.push_str(&format!(
            "{name}\\ meta) echo '{meta}' ;;\n{name}\\ path) echo '{path}' ;;\n"
        ));
    }
    let jls = folder.join("jls");
    let stand_in = format!("#!/bin/sh\ncase \"$2 $3\" in\n{cases}*) exit 1 ;;\nesac\n");
    std::fs::write(&jls, stand_in).context("no stand-in for jls")?;
    let jail = folder.join("jail");
    let stand_in = format!(
        "#!/bin/sh\necho jail \"$@\"\ncase \"$*\" in\n*' -r {hanging}') exec sleep 60 ;;\nesac\n"
    );
    std::fs::write(&jail, stand_in).context("no stand-in for jail")?;
    let script = read("agent/rc.d/cellblock_jails")?
        .replacen(". /etc/rc.subr", STAND_IN, 1)
        .replace("/usr/sbin/jls", &format!("sh {}", jls.display()))
        .replace("/usr/sbin/jail", &format!("sh {}", jail.display()))
        .replace("run_rc_command \"$1\"", "cellblock_jails_stop");
    let output = Command::new("sh")
        .args(["-eu", "-c", &script, "cellblock_jails", "stop"])
        .env(
            "SETTINGS",
            format!(
                "cellblock_jails_dir={} cellblock_jails_timeout=1",
                folder.display()
            ),
        )
        .output()
        .context("cannot start sh")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with("jail "))
        .map(|line| line.replace(&format!("{}/", folder.display()), ""))
        .collect();
    Ok(lines)
}

#[test]
fn shutting_down_stops_our_jails_and_nobody_elses() -> Result<()> {
    let marked = "    meta = \"cellblock=c1:uid-1:hash\";\n    path = \"/jails/www\";\n";
    let unmarked = "    path = \"/jails/a \\\"b\\\"\";\n    host.hostname = \"x\";\n";
    let confs = [
        ("www", marked),
        ("renewed", marked),
        ("taken", marked),
        ("on14", unmarked),
        ("other14", unmarked),
        ("gone", marked),
    ];
    let mut lines = stopped(
        &confs,
        &[
            ("www", "cellblock=c1:uid-1:hash", "/jails/www"),
            ("renewed", "cellblock=c1:uid-1:older", "/jails/www"),
            ("taken", "cellblock=c1:uid-10:hash", "/jails/www"),
            ("on14", "", "/jails/a \"b\""),
            ("other14", "", "/jails/else"),
        ],
    )?;
    lines.sort();
    ensure!(
        lines
            == ["on14", "renewed", "www"]
                .map(|name| format!("jail -q -f jails/{name}.conf -r {name}")),
        "{lines:?}"
    );
    ensure!(stopped(&[], &[])?.is_empty(), "without jails nothing runs");
    Ok(())
}

#[test]
fn shutting_down_stops_jails_before_those_that_they_depend_on() -> Result<()> {
    let marked = |rest: &str| {
        format!("{rest}\"x\" {{\n    meta = \"cellblock=c1:u:h\";\n    path = \"/jails/x\";\n")
    };
    let (app, web, db) = (
        marked("# Stops before: db gone\n"),
        marked("# Stops before: app\n"),
        marked(""),
    );
    let confs = [("app", app.as_str()), ("db", &db), ("web", &web)];
    let living = ["app", "db", "web"].map(|name| (name, "cellblock=c1:u:h", "/jails/x"));
    let wanted = |names: &[&str]| -> Vec<String> {
        let lines = names.iter();
        lines
            .map(|name| format!("jail -q -f jails/{name}.conf -r {name}"))
            .collect()
    };
    let lines = stopped(&confs, &living)?;
    ensure!(lines == wanted(&["web", "app", "db"]), "{lines:?}");
    let circle = marked("# Stops before: web\n");
    let confs = [("web", web.as_str()), ("app", &circle)];
    let mut lines = stopped(&confs, &[living[0], living[2]])?;
    lines.sort();
    ensure!(lines == wanted(&["app", "web"]), "{lines:?}");
    Ok(())
}

#[test]
fn a_jail_that_hangs_keeps_those_after_it_from_nothing() -> Result<()> {
    let head = "\"x\" {\n    meta = \"cellblock=c1:u:h\";\n    path = \"/jails/x\";\n";
    let web = format!("# Stops before: db\n{head}");
    let living = ["db", "web"].map(|name| (name, "cellblock=c1:u:h", "/jails/x"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stopped-hanging");
    let begun = std::time::Instant::now();
    let lines = stopped_in(&folder, "web", &[("db", head), ("web", &web)], &living)?;
    ensure!(
        lines
            == [
                "jail -q -f jails/web.conf -r web",
                "jail -q -R web",
                "jail -q -f jails/db.conf -r db",
            ],
        "{lines:?}"
    );
    ensure!(begun.elapsed().as_secs() < 30, "it was waited for");
    Ok(())
}
