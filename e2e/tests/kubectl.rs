//! An operator's session with kubectl, unmodified: the current release, and the oldest that a distribution still ships, which speaks
//! another OpenAPI and validates by itself. Both against a real controller over a real etcd, with a machine that runs the jails.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cellblock_e2e::{CONVERGE, Fleet, Kubectl, Options, Said, StoreKind, eventually, examples};
use serde_json::{Value, json};

const HOST: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Host\nmetadata: {name: fbsd-01}\nspec:\n  uplinks:\n    external: {interface: vtnet0, publicAddresses: {main: 10.0.2.15}}\n";
const NETWORK: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: lan, labels: {floor: one}}\nspec: {bridge: {}}\n";
const JAIL: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: www, labels: {role: web}}\nspec:\n  host: fbsd-01\n  root: {path: /jails/www}\n";
const LONELY: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: lonely}\nspec:\n  host: nowhere\n  root: {path: /jails/lonely}\n";
const SET: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: JailSet\nmetadata: {name: web}\nspec:\n  replicas: 1\n  paused: true\n  template: {spec: {root: {path: /jails/web}}}\n";
const UNKNOWN: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: odd}\nspec: {rooot: {path: /jails/odd}}\n";

const PARAMETERS: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: parameters}\nspec:\n  host: nowhere\n  root: {path: /jails/parameters}\n  parameters: {exec.prestart: [/bin/a, /bin/b], exec.start: /bin/c, mount.devfs: true, securelevel: 2}\n";

/// Where jails are to kubectl that is told a path.
const JAILS: &str = "/apis/cellblock.dev/v1alpha1/jails";

#[test]
fn the_current_kubectl_works_unmodified() -> anyhow::Result<()> {
    let mut session = Session::begin("1.37", true)?;
    session.whole()
}

#[test]
fn debians_kubectl_works_unmodified() -> anyhow::Result<()> {
    let mut session = Session::begin("1.20", false)?;
    session.whole()
}

struct Session {
    fleet: Fleet,
    kubectl: Kubectl,
    folder: PathBuf,
    /// Whether it is of this decade's releases: it validates on the server, and has more commands.
    is_new: bool,
}

impl Session {
    fn begin(release: &str, is_new: bool) -> anyhow::Result<Self> {
        let fleet = Fleet::start(&Options {
            store: StoreKind::Etcd,
            machines: vec!["fbsd-01"],
            roots: vec!["/jails/www".to_owned()],
        })?;
        let kubectl = Kubectl::find(release, &fleet)?;
        let folder = fleet.folder().join("manifests");
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            fleet,
            kubectl,
            folder,
            is_new,
        })
    }

    fn whole(&mut self) -> anyhow::Result<()> {
        self.finds_out()?;
        self.applies()?;
        self.conflicts_and_differs()?;
        self.shows()?;
        self.changes()?;
        self.applies_by_itself()?;
        self.goes_over_to_the_server_and_back()?;
        self.creates_and_replaces()?;
        self.scales()?;
        self.asks()?;
        self.watches_through_a_restart()?;
        self.deletes()?;
        self.fleet.assert_no_panic()
    }

    /// Runs a command, given as words between blanks, that succeeds.
    fn ok(&self, words: &str) -> anyhow::Result<Said> {
        self.kubectl.run(&split(words))?.ok()
    }

    /// Runs one that ends with 1.
    fn refused(&self, words: &str) -> anyhow::Result<Said> {
        self.kubectl.run(&split(words))?.refused()
    }

    fn ok_with(&self, words: &str, stdin: &str) -> anyhow::Result<Said> {
        self.kubectl.run_with(&split(words), stdin)?.ok()
    }

    fn object(&self, words: &str) -> anyhow::Result<Value> {
        let said = self.ok(&format!("get {words} -o json"))?;
        Ok(serde_json::from_str(&said.stdout)?)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    fn finds_out(&self) -> anyhow::Result<()> {
        shows(&self.ok("api-versions")?, &["cellblock.dev/v1alpha1"])?;
        let listed = self.ok("api-resources --api-group=cellblock.dev -o name")?;
        let kinds = ["hosts", "networks", "images", "jails", "jailsets"];
        for kind in kinds {
            shows(&listed, &[&format!("{kind}.cellblock.dev")])?;
        }
        shows(&self.ok("version -o json")?, &["gitVersion", "+cellblock-"])?;
        shows(
            &self.ok("explain jail.spec.publish")?,
            &["ports", "-required-"],
        )?;
        shows(
            &self.ok("explain events")?,
            &["VERSION", "v1", "involvedObject", "reason", "lastTimestamp"],
        )?;
        shows(
            &self.ok("explain events.involvedObject")?,
            &["kind", "name", "uid"],
        )?;
        shows(
            &self.ok("explain jailset --recursive")?,
            &["publish", "maxUnavailable", "observedGeneration"],
        )?;
        shows(
            &self.ok("explain allocations.status.owner")?,
            &["name", "uid"],
        )?;
        for name in self.ok("api-resources -o name")?.stdout.lines() {
            let (resource, _) = name.split_once('.').unwrap_or((name, ""));
            shows(&self.ok(&format!("explain {resource}"))?, &["apiVersion"])?;
        }
        Ok(())
    }

    fn applies(&self) -> anyhow::Result<()> {
        for (name, text) in [
            ("host.yaml", HOST),
            ("jail.yaml", JAIL),
            ("net.yaml", NETWORK),
        ] {
            self.write(name, text)?;
        }
        let folder = self.folder.display();
        let tried = self.ok(&format!("apply --server-side --dry-run=server -f {folder}"))?;
        shows(
            &tried,
            &["network.cellblock.dev/lan serverside-applied (server dry run)"],
        )?;
        let none = self.ok("get networks --ignore-not-found -o name")?;
        ensure!(none.stdout.is_empty(), "{none}");
        let said = self.ok(&format!("apply --server-side -f {folder}"))?;
        shows(
            &said,
            &[
                "host.cellblock.dev/fbsd-01 serverside-applied",
                "jail.cellblock.dev/www serverside-applied",
                "network.cellblock.dev/lan serverside-applied",
            ],
        )?;
        let waited = self.ok("wait --for=condition=Ready jail/www host/fbsd-01 --timeout=60s")?;
        shows(&waited, &["jail.cellblock.dev/www condition met"])
    }

    fn conflicts_and_differs(&self) -> anyhow::Result<()> {
        let other = self.write("../other.yaml", &JAIL.replace("role: web", "role: proxy"))?;
        let differs = self.refused(&format!("diff -f {other}"))?;
        shows(&differs, &["-    role: web", "+    role: proxy"])?;
        let apply = format!("apply --server-side --field-manager=other -f {other}");
        self.refused(&apply)?.says(&[
            "Apply failed with 1 conflict: conflict with \"kubectl\": .metadata.labels.role",
        ])?;
        self.ok(&format!("{apply} --force-conflicts"))?;
        let diff = format!("diff --server-side --field-manager=other -f {other}");
        let same = self.ok(&diff)?;
        ensure!(same.stdout.is_empty(), "{same}");
        // Whose it was takes it back, so that later steps find it as it was applied.
        let own = self.folder.join("jail.yaml");
        let own = own.display();
        self.ok(&format!("apply --server-side --force-conflicts -f {own}"))?;
        self.ok(&format!("diff --server-side -f {own}"))?;
        Ok(())
    }

    fn shows(&self) -> anyhow::Result<()> {
        let table = self.ok("get jails")?;
        shows(
            &table,
            &[
                "NAME", "HOST", "PHASE", "READY", "www", "fbsd-01", "Running",
            ],
        )?;
        ensure!(!table.stdout.contains("REASON"), "{table}");
        shows(&self.ok("get jails -o wide")?, &["REASON", "/jails/www"])?;
        shows(
            &self.ok("get jail www -o name")?,
            &["jail.cellblock.dev/www"],
        )?;
        shows(
            &self.ok("get jail www -o yaml")?,
            &["kind: Jail", "host: fbsd-01"],
        )?;
        ensure!(self.object("jail/www")?["spec"]["host"] == "fbsd-01");
        ensure!(self.object("jails")?["kind"] == "List");
        shows(
            &self.ok("get all --no-headers")?,
            &["host.cellblock.dev/fbsd-01", "network.cellblock.dev/lan"],
        )?;
        shows(
            &self.ok("get jails -L role --sort-by=.metadata.name")?,
            &["ROLE"],
        )?;
        shows(
            &self.ok("get jail www -o jsonpath={.status.phase}")?,
            &["Running"],
        )?;
        shows(
            &self.ok("describe jail www")?,
            &[
                "API Version:  cellblock.dev/v1alpha1",
                "Conditions:",
                "Ready",
            ],
        )?;
        let none = self.ok("get jails -l role=nothing -o name")?;
        ensure!(none.stdout.is_empty(), "{none}");
        for selected in [
            "-l role=web",
            "-l role!=db,role",
            "--field-selector=metadata.name=www",
            "--field-selector=spec.host=fbsd-01",
            "--field-selector=status.binding.host=fbsd-01",
            "--chunk-size=1",
        ] {
            let said = self.ok(&format!("get jails -o name {selected}"))?;
            ensure!(said.stdout.trim() == "jail.cellblock.dev/www", "{said}");
        }
        self.refused("get jails --field-selector=spec.nothing=1")?
            .says(&["field label not supported: spec.nothing"])?;
        self.refused("get jail nobody")?
            .says(&["(NotFound): jails.cellblock.dev \"nobody\" not found"])
    }

    fn changes(&self) -> anyhow::Result<()> {
        self.ok("label network lan zone=a")?;
        self.refused("label network lan zone=b")?;
        self.ok("label network lan zone=b --overwrite")?;
        self.ok("annotate network lan example.org/note=1")?;
        self.ok(r#"patch network lan --type=merge -p {"metadata":{"labels":{"zone":"c"}}}"#)?;
        self.ok(
            r#"patch network lan --type=json -p [{"op":"test","path":"/metadata/labels/zone","value":"c"},{"op":"remove","path":"/metadata/labels/zone"}]"#,
        )?;
        self.refused(r#"patch network lan --type=strategic -p {"metadata":{"labels":{"a":"b"}}}"#)?
            .says(&["application/merge-patch+json"])?;
        let script = "sed 's/floor: one/floor: two/' \"$1\" > \"$1.new\" && mv \"$1.new\" \"$1\"\n";
        let edited = self.kubectl.with_editor(script)?;
        let said = edited.run(&["edit", "network", "lan"])?.ok()?;
        shows(&said, &["network.cellblock.dev/lan edited"])?;
        let network = self.object("network/lan")?;
        let labels = serde_json::json!({"floor": "two"});
        ensure!(network["metadata"]["labels"] == labels, "{network}");
        self.refused(r#"patch jail www --type=merge -p {"spec":{"jailName":"other"}}"#)?
            .says(&["The Jail \"www\" is invalid: spec.jailName"])?;
        self.ok(r#"patch network lan --type=merge -p {"metadata":{"labels":{"floor":"one"}}}"#)
            .map(drop)
    }

    fn applies_by_itself(&self) -> anyhow::Result<()> {
        let manifest = NETWORK.replace("lan", "dmz");
        let with = |words: &str, manifest: &str| self.ok_with(words, manifest);
        shows(
            &with("apply -f -", &manifest)?,
            &["network.cellblock.dev/dmz created"],
        )?;
        shows(
            &with("apply -f -", &manifest)?,
            &["network.cellblock.dev/dmz unchanged"],
        )?;
        let without = manifest.replace(", labels: {floor: one}", "");
        let differs = self
            .kubectl
            .run_with(&["diff", "-f", "-"], &without)?
            .refused()?;
        shows(&differs, &["floor: one"])?;
        shows(
            &with("apply -f -", &without)?,
            &["network.cellblock.dev/dmz configured"],
        )?;
        with("diff -f -", &without)?;
        let labels = self.object("network/dmz")?["metadata"]["labels"].take();
        ensure!(
            labels.as_object().is_none_or(|labels| labels.is_empty()),
            "{labels}"
        );
        shows(
            &self.ok("apply view-last-applied network dmz")?,
            &["bridge: {}"],
        )?;
        // An unknown field is refused, by whoever reads it first.
        let unknown = self
            .kubectl
            .run_with(&["apply", "-f", "-"], UNKNOWN)?
            .refused()?;
        unknown.says(&["rooot"])?;
        let by_itself = unknown.stderr.contains("ValidationError(Jail.spec)");
        ensure!(by_itself != self.is_new, "{unknown}");
        // What an old kubectl judges by version 2 of OpenAPI: a parameter may be true, a number, a text, or a list.
        shows(
            &with("apply --dry-run=server -f -", PARAMETERS)?,
            &["jail.cellblock.dev/parameters created (server dry run)"],
        )?;
        with("apply -f -", PARAMETERS)?;
        with("apply --server-side --force-conflicts -f -", PARAMETERS)?;
        let stored = self.object("jail/parameters")?["spec"]["parameters"].take();
        ensure!(
            stored["exec.prestart"] == serde_json::json!(["/bin/a", "/bin/b"]),
            "{stored}"
        );
        self.ok("delete jail parameters --timeout=60s")?;
        let words = ["apply", "--dry-run=client", "--recursive", "--filename"];
        let examples = examples().display().to_string();
        let words: Vec<&str> = words.into_iter().chain([examples.as_str()]).collect();
        self.kubectl.run(&words)?.ok().map(drop)
    }

    /// One object applied by kubectl itself, then by the server, then by kubectl itself again.
    fn goes_over_to_the_server_and_back(&self) -> anyhow::Result<()> {
        let manifest = |labels: &str| {
            let network = NETWORK.replace("lan", "turn");
            network.replace("floor: one", labels)
        };
        let labels = || -> anyhow::Result<Value> {
            Ok(self.object("network/turn")?["metadata"]["labels"].take())
        };
        self.ok_with("apply -f -", &manifest("floor: one"))?;
        self.ok_with(
            "apply --server-side -f -",
            &manifest("floor: two, door: red"),
        )?;
        ensure!(labels()? == json!({"floor": "two", "door": "red"}));
        // What the server was told last is known, so that what is left out now goes.
        self.ok_with("apply -f -", &manifest("floor: three"))?;
        ensure!(labels()? == json!({"floor": "three"}), "{}", labels()?);
        self.ok_with("apply --server-side -f -", &manifest("floor: four"))?;
        ensure!(labels()? == json!({"floor": "four"}), "{}", labels()?);
        self.ok("delete network turn").map(drop)
    }

    fn creates_and_replaces(&self) -> anyhow::Result<()> {
        let manifest = NETWORK.replace("lan", "mgmt");
        let file = self.write("../mgmt.yaml", &manifest)?;
        self.ok(&format!("create -f {file}"))?;
        self.refused(&format!("create -f {file}"))?
            .says(&["AlreadyExists"])?;
        let unnamed = NETWORK.replace("name: lan", "generateName: any-, namespace: default");
        for _ in 0..2 {
            let made = self.ok_with("create -f -", &unnamed)?;
            shows(&made, &["network.cellblock.dev/any-", "created"])?;
        }
        let made = self.ok("get networks -o name")?.stdout;
        let made: Vec<_> = made.lines().filter(|name| name.contains("/any-")).collect();
        ensure!(made.len() == 2, "{made:?}");
        self.ok(&format!("delete {}", made.join(" ")))?;
        let uid = self.object("network/mgmt")?["metadata"]["uid"].take();
        self.ok(&format!("replace -f {file}"))?;
        ensure!(self.object("network/mgmt")?["metadata"]["uid"] == uid);
        let stale = manifest.replace("{name: mgmt", "{resourceVersion: '1', name: mgmt");
        let refused = self.kubectl.run_with(&["replace", "-f", "-"], &stale)?;
        refused.refused()?.says(&["(Conflict)"])?;
        self.ok(&format!("replace --force -f {file}"))?;
        ensure!(self.object("network/mgmt")?["metadata"]["uid"] != uid);
        let tried = self.ok(&format!("delete --dry-run=server -f {file}"))?;
        shows(&tried, &["server dry run"])?;
        shows(
            &self.ok(&format!("delete -f {file}"))?,
            &["\"mgmt\" deleted"],
        )
    }

    fn scales(&self) -> anyhow::Result<()> {
        self.ok_with("apply --server-side -f -", SET)?;
        let said = self.ok("scale jailset web --replicas=0")?;
        shows(&said, &["jailset.cellblock.dev/web scaled"])?;
        ensure!(self.object("js/web")?["spec"]["replicas"] == 0);
        self.ok("scale jailset web --current-replicas=0 --replicas=1")?;
        self.refused("scale jailset web --current-replicas=7 --replicas=2")?;
        ensure!(self.object("js/web")?["spec"]["replicas"] == 1);
        // Written as a whole, zero is left out (kubernetes/api, `autoscaling/v1/types.go`).
        self.ok("scale jailset web --current-replicas=1 --replicas=0")?;
        ensure!(self.object("js/web")?["spec"]["replicas"] == 0);
        self.ok("delete jailset web --timeout=60s").map(drop)
    }

    fn asks(&self) -> anyhow::Result<()> {
        for allowed in [
            "get jails",
            "patch jails.cellblock.dev --subresource=status",
            "* *",
        ] {
            let said = self.ok(&format!("auth can-i {allowed}"))?;
            shows(&said, &["yes"])?;
        }
        for refused in ["fly jails", "get jails --subresource=log", "get pods"] {
            let said = self.refused(&format!("auth can-i {refused}"))?;
            shows(&said, &["no"])?;
        }
        shows(&self.ok("auth can-i --list")?, &["*.cellblock.dev"])?;
        if self.is_new {
            shows(&self.ok("auth whoami")?, &["system:anonymous"])?;
        }
        self.refused("get pods")?
            .says(&["doesn't have a resource type \"pods\""])
    }

    /// kubectl itself ends a `get -w` with the controller that it watched; what happened meanwhile is told to who goes on from the
    /// last revision that was seen, and `kubectl wait` goes on by itself.
    fn watches_through_a_restart(&mut self) -> anyhow::Result<()> {
        let watch = split("get jails -w --output-watch-events -o json");
        let watching = self.kubectl.start(&watch)?;
        seen(&watching, "ADDED")?;
        self.ok("label jail www step=one")?;
        seen(&watching, "\"step\":\"one\"")?;
        let waiting = if self.is_new {
            let words = "wait jail/www --for=jsonpath={.metadata.labels.step}=three --timeout=60s";
            Some(self.kubectl.start(&split(words))?)
        } else {
            None
        };
        let revision = self.object("jail/www")?["metadata"]["resourceVersion"].take();
        let revision = revision.as_str().context("a revision")?.to_owned();
        self.ok("label jail www step=two --overwrite")?;
        seen(&watching, "\"step\":\"two\"")?;
        let events = self.kubectl.start(&split("get events -w"))?;
        seen(&events, "jail/www")?;
        self.ok_with("apply --server-side -f -", LONELY)?;
        seen(&events, "jail/lonely")?;
        self.ok("delete jail lonely --wait=false")?;
        if self.is_new {
            let told = self.ok("events --for jail/www")?;
            shows(&told, &["Running", "Jail/www"])?;
        }
        self.fleet.controller.kill();
        watching.end()?;
        events.end()?;
        self.fleet.start_controller()?;
        self.ok("label jail www step=three --overwrite")?;
        let path = format!("{JAILS}?watch=1&resourceVersion={revision}&timeoutSeconds=1");
        let said = self.ok(&format!("get --raw {path}"))?;
        let events: serde_json::Result<Vec<Value>> =
            said.stdout.lines().map(serde_json::from_str).collect();
        let steps: Vec<Value> = events?
            .into_iter()
            .map(|mut event| event["object"]["metadata"]["labels"]["step"].take())
            .collect();
        let place = |step: &str| steps.iter().position(|one| one == step);
        ensure!(
            place("one").is_none_or(|one| Some(one) < place("two"))
                && place("two").is_some()
                && place("two") < place("three"),
            "what happened around the restart is told in its order: {steps:?}"
        );
        if let Some(waiting) = waiting {
            waiting.end()?.ok()?;
        }
        Ok(())
    }

    fn deletes(&self) -> anyhow::Result<()> {
        let hold = |finalizers: &str| {
            let patch = format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
            let words = ["patch", "network", "lan", "--type=merge", "-p", &patch];
            self.kubectl.run(&words)?.ok()
        };
        hold(r#"["example.org/hold"]"#)?;
        let said = self.ok("delete network lan --wait=false")?;
        shows(&said, &["network.cellblock.dev \"lan\" deleted"])?;
        let held = self.object("network/lan")?;
        ensure!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
        let late = self.refused("wait --for=delete network/lan --timeout=1s")?;
        late.says(&["timed out"])?;
        let waiting = self
            .kubectl
            .start(&split("wait --for=delete network/lan --timeout=60s"))?;
        let deleting = self
            .kubectl
            .start(&split("delete network lan --timeout=60s"))?;
        seen(&deleting, "network.cellblock.dev \"lan\" deleted")?;
        hold("null")?;
        waiting.end()?.ok()?;
        deleting.end()?.ok()?;
        self.refused("get network lan")?.says(&["(NotFound)"])?;
        // A jail goes when its host says so.
        self.ok("delete jail -l role=web --wait --timeout=90s")?;
        self.refused("get jail www")?.says(&["(NotFound)"])?;
        let folder = self.folder.display();
        let said = self.ok(&format!("delete --ignore-not-found -f {folder}"))?;
        shows(&said, &["host.cellblock.dev \"fbsd-01\" deleted"])?;
        self.ok("delete networks --all")?;
        let left = self.ok("get hosts,networks,images,jails,jailsets -o name")?;
        ensure!(left.stdout.is_empty(), "{left}");
        Ok(())
    }
}

fn split(words: &str) -> Vec<&str> {
    words.split(' ').collect()
}

/// Fails unless standard output has each of `texts`.
fn shows(said: &Said, texts: &[&str]) -> anyhow::Result<()> {
    for text in texts {
        ensure!(said.stdout.contains(text), "`{text}` is missing: {said}");
    }
    Ok(())
}

fn seen(running: &cellblock_e2e::Running, text: &str) -> anyhow::Result<()> {
    const SOON: Duration = Duration::from_secs(30);
    assert!(SOON <= CONVERGE, "nothing here takes longer than a fleet");
    eventually(text, SOON, || {
        let shown = running.shown();
        ensure!(shown.contains(text), "so far: {shown}");
        Ok(())
    })
}
