//! A slow jail keeps nobody waiting, shows as busy, and tells its failure when it is asked for again.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::command::{Command, Output};
use crate::system::{Process, SystemError};

/// A host on which jail(8) ends when it is let go, with a failure.
#[derive(Default)]
struct Slow {
    released: Arc<AtomicBool>,
    /// What the jail.conf of every jail says.
    hook: Mutex<String>,
}

impl Slow {
    fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }

    fn hold(&self) {
        self.released.store(false, Ordering::SeqCst);
    }
}

struct Failing(Arc<AtomicBool>);

impl Process for Failing {
    fn wait(&mut self, _: Duration) -> Result<Option<Output>, SystemError> {
        let ended = self.0.load(Ordering::SeqCst);
        Ok(ended.then(|| Output {
            status: 1,
            stdout: String::new(),
            stderr: "jail: www: /bin/false: failed".to_owned(),
        }))
    }
}

impl System for Slow {
    fn start(&self, command: &Command) -> Result<Box<dyn Process>, SystemError> {
        assert!(
            command.discards_stdout && command.stderr_file.is_some(),
            "what it starts must outlive the agent: {}",
            command.line()
        );
        Ok(Box::new(Failing(Arc::clone(&self.released))))
    }

    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        let stdout = if command.argv[0].ends_with("/jls") {
            "{\"__version\": \"2\", \"jail-information\": {\"jail\": []}}\n".to_owned()
        } else {
            String::new()
        };
        Ok(Output {
            status: 0,
            stdout,
            stderr: String::new(),
        })
    }

    fn read_file(&self, _: &str) -> Result<Option<String>, SystemError> {
        let hook = self.hook.lock().expect("no test panics with it");
        Ok(Some(format!(
            "\"www\" {{\n    path = \"/\";\n    persist;\n    exec.start = \"{hook}\";\n}}\n"
        )))
    }

    fn write_file(&self, _: &str, _: &str) -> Result<(), SystemError> {
        Ok(())
    }

    fn remove_file(&self, _: &str) -> Result<(), SystemError> {
        Ok(())
    }

    fn list_dir(&self, _: &str) -> Result<Option<Vec<String>>, SystemError> {
        Ok(None)
    }

    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError> {
        Ok(Some(path.to_owned()))
    }

    fn file_size(&self, _: &str) -> Result<Option<u64>, SystemError> {
        Ok(None)
    }

    fn rotate_file(&self, _: &str, _: &str, _: u64) -> Result<(), SystemError> {
        Ok(())
    }
}

fn busy(host: &FreeBsd) -> BTreeMap<String, String> {
    host.busy().expect("nothing fails on this host")
}

fn start_of(number: usize) -> Op {
    Op::StartJail {
        name: format!("j{number}"),
        conf: format!("/var/db/cellblock/jails/j{number}.conf"),
    }
}

#[test]
fn a_slow_start_goes_on_and_its_failure_is_told_later() {
    let system = Arc::new(Slow::default());
    let host =
        FreeBsd::new(system.clone(), "/var/db/cellblock").with_patience(Duration::from_millis(10));
    let start = start_of(0);
    assert_eq!(host.perform(&start), Ok(Performed::Begun));
    assert_eq!(busy(&host).get("j0").map(String::as_str), Some(STARTING));
    assert_eq!(
        host.perform(&start),
        Ok(Performed::Begun),
        "it is under way, and not begun twice"
    );
    system.release();
    assert_eq!(busy(&host), BTreeMap::new());
    let error = host.perform(&start).expect_err("the failure waited");
    assert!(error.message.contains("/bin/false: failed"), "{error}");
}

/// What came of one jail.conf says nothing of the next one.
#[test]
fn the_failure_of_another_jail_conf_is_not_told() {
    let system = Arc::new(Slow::default());
    let host =
        FreeBsd::new(system.clone(), "/var/db/cellblock").with_patience(Duration::from_millis(10));
    let start = start_of(0);
    assert_eq!(host.perform(&start), Ok(Performed::Begun));
    system.release();
    assert_eq!(busy(&host), BTreeMap::new());
    system.hold();
    "true".clone_into(&mut system.hook.lock().expect("no test panics with it"));
    assert_eq!(
        host.perform(&start),
        Ok(Performed::Begun),
        "the manifest was mended"
    );
    system.release();
    assert_eq!(busy(&host), BTreeMap::new());
}

/// However many jails are slow, the agent goes on; and a failure that nobody asks for takes no place.
#[test]
fn one_slow_jail_too_many_waits_its_turn() {
    let system = Arc::new(Slow::default());
    let host =
        FreeBsd::new(system.clone(), "/var/db/cellblock").with_patience(Duration::from_millis(1));
    for number in 0..JOBS_MAX {
        assert_eq!(host.perform(&start_of(number)), Ok(Performed::Begun));
    }
    let one_more = start_of(JOBS_MAX);
    assert_eq!(host.perform(&one_more), Ok(Performed::Postponed));
    assert_eq!(busy(&host).len(), JOBS_MAX);
    system.release();
    assert_eq!(busy(&host), BTreeMap::new());
    system.hold();
    assert_eq!(host.perform(&one_more), Ok(Performed::Begun));
    system.release();
    assert_eq!(busy(&host), BTreeMap::new());
    let error = host.perform(&one_more).expect_err("its failure waited");
    assert!(error.message.contains("/bin/false: failed"), "{error}");
}
