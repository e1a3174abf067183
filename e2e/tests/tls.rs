//! A fleet with certificates made as docs/operations/security.md says: who has the right one is served, and who has another is told which file or name is wrong.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use cellblock_e2e::{
    Binaries, CONVERGE, Kubectl, Machine, Process, Running, Said, eventually, examples, free_port,
};
use tempfile::TempDir;

/// How long a refusal may take to be logged.
const REFUSAL: Duration = Duration::from_secs(60);

/// The controller's name in the page's commands, and ours.
const NAMES: [&str; 2] = ["controller.example.org", "localhost"];

/// The shell commands below a heading of a page.
fn commands(page: &str, heading: &str) -> anyhow::Result<String> {
    let section = page
        .split_once(heading)
        .context("the page has the heading")?;
    let block = section.1.split_once("```sh\n").context("commands follow")?;
    let block = block.1.split_once("\n```").context("they end")?;
    Ok(block.0.to_owned())
}

/// Runs the page's commands in `folder`, and gives out the certificates that it does not need more of.
fn certificates(folder: &Path) -> anyhow::Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations/security.md");
    let page = std::fs::read_to_string(page)?;
    let mut script = commands(&page, "## Certificates")?.replace(NAMES[0], NAMES[1]);
    script.push_str(
        "\nissue visitor \"/CN=visitor\"\nissue fbsd-02 \"/CN=cellblock:host:fbsd-02\"\n",
    );
    // One that has ended (the page's `issue` with another number of days), and one of nobody's authority.
    script.push_str(
        "cp fbsd-01.key old.key\nopenssl x509 -req -in fbsd-01.csr -CA ca.pem -CAkey ca.key -days 0 -extfile fbsd-01.ext -out old.pem\n\
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=Others -keyout others.key -out others.pem\n\
         cp fbsd-01.key stranger.key\nopenssl x509 -req -in fbsd-01.csr -CA others.pem -CAkey others.key -CAcreateserial -days 1 -extfile fbsd-01.ext -out stranger.pem\n",
    );
    let output = Command::new("sh")
        .args(["-e", "-c", &script])
        .current_dir(folder)
        .output()?;
    ensure!(
        output.status.success(),
        "the page's commands failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A controller with certificates, a machine, and the files for everybody.
struct Secured {
    binaries: Binaries,
    controller: Process,
    controller_log: PathBuf,
    machine: Machine,
    url: String,
    folder: TempDir,
}

impl Secured {
    fn start() -> anyhow::Result<Self> {
        Self::start_with("")
    }

    /// With these tokens, if there are any.
    fn start_with(tokens: &str) -> anyhow::Result<Self> {
        let binaries = Binaries::find()?;
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        certificates(path)?;
        let port = free_port()?;
        let url = format!("https://localhost:{port}");
        let mut token_file = String::new();
        if !tokens.is_empty() {
            let file = path.join("tokens.csv");
            std::fs::write(&file, tokens)?;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
            token_file = format!("token_file = \"{}\"\n", file.display());
        }
        let config = format!(
            "{token_file}listen = \"127.0.0.1:{port}\"\nstore = \"embedded:{0}/store.redb\"\n[tls]\nca = \"{0}/ca.pem\"\ncertificate = \"{0}/controller.pem\"\nkey = \"{0}/controller.key\"\n",
            path.display()
        );
        std::fs::write(path.join("cellblockd.toml"), config)?;
        let controller_log = path.join("cellblockd.log");
        let controller = Process::new(
            "cellblockd",
            &binaries.cellblockd(),
            [
                "--config".to_owned(),
                path.join("cellblockd.toml").display().to_string(),
            ],
            controller_log.clone(),
        );
        let machine = Machine::new(&binaries, path, "fbsd-01", 1, &url);
        let mut contexts = String::new();
        for (name, files) in [
            ("olga", "olga"),
            ("agent", "fbsd-01"),
            ("visitor", "visitor"),
        ] {
            write!(
                contexts,
                "[contexts.{name}]\nserver = \"{url}\"\nca = \"{0}/ca.pem\"\ncertificate = \"{0}/{files}.pem\"\nkey = \"{0}/{files}.key\"\n",
                path.display()
            )?;
        }
        write!(
            contexts,
            "[contexts.nobody]\nserver = \"{url}\"\nca = \"{0}/ca.pem\"\n[contexts.elsewhere]\nserver = \"{url}\"\nca = \"{0}/olga.pem\"\ncertificate = \"{0}/olga.pem\"\nkey = \"{0}/olga.key\"\n",
            path.display()
        )?;
        std::fs::write(path.join("jailctl.toml"), contexts)?;
        let mut secured = Self {
            binaries,
            controller,
            controller_log,
            machine,
            url,
            folder,
        };
        secured.controller.start()?;
        secured.machine.switch_on()?;
        eventually("the controller serves", REFUSAL, || {
            secured.jailctl("olga", &["get", "hosts"])?.ok()
        })?;
        Ok(secured)
    }

    /// The agent of the machine, with the certificate of `files`.
    fn agent(&self, files: &str) -> anyhow::Result<Process> {
        let path = self.folder.path();
        let config = path.join(format!("{files}.toml"));
        let text = format!(
            "controllers = [\"{url}\"]\nhost_name = \"fbsd-01\"\nstate_dir = \"{0}/state\"\nresync_seconds = 1\n[tls]\nca = \"{0}/ca.pem\"\ncertificate = \"{0}/{files}.pem\"\nkey = \"{0}/{files}.key\"\n",
            path.display(),
            url = self.url
        );
        std::fs::write(&config, text)?;
        let (_, socket) = self.machine.door();
        Ok(Process::new(
            format!("agent as {files}"),
            &self.binaries.agent(),
            [
                "--config".to_owned(),
                config.display().to_string(),
                "--host".to_owned(),
                "emulated".to_owned(),
                "--emulator".to_owned(),
                socket.display().to_string(),
            ],
            path.join(format!("{files}.log")),
        ))
    }

    fn jailctl(&self, context: &str, arguments: &[&str]) -> anyhow::Result<Said> {
        let config = self.folder.path().join("jailctl.toml");
        let config = config.display().to_string();
        let own = ["--config", &config, "--context", context];
        let arguments: Vec<&str> = own.into_iter().chain(arguments.iter().copied()).collect();
        Running::start(
            &self.binaries.jailctl(),
            self.folder.path(),
            &arguments,
            Vec::new(),
        )?
        .end()
    }
}

/// Waits until a log has `text`.
fn logged(log: &Path, text: &str) -> anyhow::Result<()> {
    eventually(&format!("`{text}` is logged"), REFUSAL, || {
        let said = std::fs::read_to_string(log)?;
        if !said.contains(text) {
            bail!("{} has:\n{said}", log.display());
        }
        Ok(())
    })
}

#[test]
fn a_fleet_with_the_pages_certificates_runs_a_jail_and_turns_others_away() -> anyhow::Result<()> {
    let secured = Secured::start()?;
    secured.machine.make_roots(["/jails/www".to_owned()])?;
    for name in ["hosts.yaml", "www-shared-ip.yaml"] {
        let file = examples().join(name).display().to_string();
        secured.jailctl("olga", &["apply", "-f", &file])?.ok()?;
    }

    // Another host's certificate does not speak for this one.
    let mut other = secured.agent("fbsd-02")?;
    other.start()?;
    logged(&secured.folder.path().join("fbsd-02.log"), "forbidden")?;
    logged(&secured.controller_log, "forbidden")?;
    other.kill();

    let mut agent = secured.agent("fbsd-01")?;
    agent.start()?;
    let timeout = format!("{}s", CONVERGE.as_secs());
    secured
        .jailctl(
            "olga",
            &[
                "wait",
                "jail/www",
                "--for",
                "condition=Ready",
                "--timeout",
                &timeout,
            ],
        )?
        .ok()
        .map_err(|error| error.context(agent.log_end()))?;

    for (context, expected) in [
        ("agent", "forbidden"),
        ("visitor", "forbidden"),
        ("nobody", "certificate"),
        ("elsewhere", "certificate"),
    ] {
        let said = secured
            .jailctl(context, &["delete", "jail", "www"])?
            .refused()?;
        said.says(&[expected])?;
    }
    secured.jailctl("olga", &["get", "jail", "www"])?.ok()?;

    // The same of visits: an operator may, and an agent is none.
    let exec = ["exec", "www", "-n", "--", "echo", "here"];
    let said = secured.jailctl("olga", &exec)?.ok()?;
    ensure!(said.stdout == "here\n", "{said}");
    for (context, expected) in [
        ("agent", "may not visit jails"),
        ("visitor", "forbidden"),
        ("nobody", "certificate"),
    ] {
        let said = secured.jailctl(context, &exec)?;
        ensure!(said.status == Some(255), "{said}");
        said.says(&[expected])?;
        let said = secured.jailctl(context, &["logs", "www"])?.refused()?;
        said.says(&[expected])?;
    }
    logged(&secured.controller_log, r#"operator="olga""#)
}

#[test]
fn an_agent_whose_certificate_is_refused_says_so() -> anyhow::Result<()> {
    let secured = Secured::start()?;
    // A certificate is good through the second of its end.
    let old = secured.folder.path().join("old.pem");
    eventually("old.pem has ended", REFUSAL, || {
        let age = std::fs::metadata(&old)?.modified()?.elapsed()?;
        ensure!(age > Duration::from_secs(2), "it is {age:?} old");
        Ok(())
    })?;
    for (files, expected, refused) in [
        ("old", "old.pem ended at ", "certificate expired"),
        (
            "stranger",
            "the controller may not accept this host's certificate ",
            "UnknownIssuer",
        ),
    ] {
        let mut agent = secured.agent(files)?;
        agent.start()?;
        let log = secured.folder.path().join(format!("{files}.log"));
        logged(&log, expected)?;
        logged(&log, "trying again in")?;
        logged(&secured.controller_log, refused)?;
        agent.kill();
    }
    Ok(())
}

#[test]
fn jailctl_shows_a_token() -> anyhow::Result<()> {
    let secured = Secured::start_with("s3cret,tom,1,\"cellblock:operators\"\n")?;
    let folder = secured.folder.path();
    let mut contexts = String::new();
    for (name, token) in [("tom", "s3cret"), ("wrong", "else")] {
        std::fs::write(folder.join(name), format!("{token}\n"))?;
        let (folder, url) = (folder.display(), &secured.url);
        write!(
            contexts,
            "[contexts.{name}]\nserver = \"{url}\"\nca = \"{folder}/ca.pem\"\ntoken_file = \"{folder}/{name}\"\n"
        )?;
    }
    std::fs::write(folder.join("jailctl.toml"), contexts)?;
    secured.jailctl("tom", &["get", "hosts"])?.ok()?;
    let said = secured.jailctl("wrong", &["get", "hosts"])?.refused()?;
    said.says(&["the token is not known"])
}

#[test]
fn kubectl_is_served_by_a_token_and_by_a_certificate() -> anyhow::Result<()> {
    let secured = Secured::start_with("s3cret,tom,1,\"cellblock:operators\"\nplain,tim,2\n")?;
    let folder = secured.folder.path();
    let pair = |name: &str| {
        let folder = folder.display();
        format!("client-certificate: \"{folder}/{name}.pem\", client-key: \"{folder}/{name}.key\"")
    };
    let ca = folder.join("ca.pem");
    let cluster = format!(
        "server: \"{}\", certificate-authority: \"{}\"",
        secured.url,
        ca.display()
    );
    let manifest = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\nspec: {bridge: {}}\n";
    for release in ["1.37", "1.20"] {
        let kubectl = |user: &str| Kubectl::of(release, folder, &cluster, user);
        for user in ["token: s3cret".to_owned(), pair("olga")] {
            let kubectl = kubectl(&user)?;
            let apply = ["apply", "--server-side", "-f", "-"];
            kubectl.run_with(&apply, manifest)?.ok()?;
            let said = kubectl.run(&["get", "networks", "-o", "name"])?.ok()?;
            ensure!(said.stdout.trim() == "network.cellblock.dev/lan", "{said}");
            kubectl.run(&["delete", "network", "lan"])?.ok()?;
        }
        let get = ["get", "--raw", "/apis/cellblock.dev/v1alpha1/networks"];
        for (user, expected) in [
            ("token: plain".to_owned(), "(Forbidden)"),
            (pair("fbsd-01"), "(Forbidden)"),
            ("token: wrong".to_owned(), "(Unauthorized)"),
            // It asks for a password then, which nobody types.
            (String::new(), "EOF"),
        ] {
            let said = kubectl(&user)?.run(&get)?.refused()?;
            said.says(&[expected])
                .map_err(|error| error.context(format!("{release} with {user}")))?;
        }
    }
    Ok(())
}
