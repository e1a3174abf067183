//! A slow jail keeps nobody waiting, shows as busy, and tells its failure when it is asked for again.

use std::sync::Condvar;
use std::time::Instant;

use super::*;
use crate::command::{Command, Output};
use crate::system::SystemError;

/// A host on which jail(8) ends when it is let go, with a failure.
#[derive(Default)]
struct Slow {
    released: Mutex<bool>,
    wake: Condvar,
    /// What the jail.conf of every jail says.
    hook: Mutex<String>,
}

impl Slow {
    fn release(&self) {
        *self.released.lock().expect("no test panics with it") = true;
        self.wake.notify_all();
    }

    fn hold(&self) {
        *self.released.lock().expect("no test panics with it") = false;
    }
}

impl System for Slow {
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        if command.argv[0].ends_with("/jail") {
            assert!(
                command.discards_stdout,
                "what it starts must outlive the agent: {}",
                command.line()
            );
            let mut released = self.released.lock().expect("no test panics with it");
            while !*released {
                released = self.wake.wait(released).expect("no test panics with it");
            }
            return Ok(Output {
                status: 1,
                stdout: String::new(),
                stderr: "jail: www: /bin/false: failed".to_owned(),
            });
        }
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

fn start_of(number: usize) -> Op {
    Op::StartJail {
        name: format!("j{number}"),
        conf: format!("/var/db/cellblock/jails/j{number}.conf"),
    }
}

/// Until no job runs any more.
fn wait_for_all(host: &FreeBsd) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !host.busy().is_empty() {
        assert!(Instant::now() < deadline, "busy: {:?}", host.busy());
        std::thread::yield_now();
    }
}

#[test]
fn a_slow_start_goes_on_and_its_failure_is_told_later() {
    let system = Arc::new(Slow::default());
    let host =
        FreeBsd::new(system.clone(), "/var/db/cellblock").with_patience(Duration::from_millis(10));
    let start = start_of(0);
    assert_eq!(host.perform(&start), Ok(Performed::Begun));
    assert_eq!(host.busy().get("j0").map(String::as_str), Some(STARTING));
    assert_eq!(
        host.perform(&start),
        Ok(Performed::Begun),
        "it is under way, and not begun twice"
    );
    system.release();
    wait_for_all(&host);
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
    wait_for_all(&host);
    system.hold();
    "true".clone_into(&mut system.hook.lock().expect("no test panics with it"));
    assert_eq!(
        host.perform(&start),
        Ok(Performed::Begun),
        "the manifest was mended"
    );
    system.release();
    wait_for_all(&host);
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
    assert_eq!(host.busy().len(), JOBS_MAX);
    system.release();
    wait_for_all(&host);
    system.hold();
    assert_eq!(host.perform(&one_more), Ok(Performed::Begun));
    system.release();
    wait_for_all(&host);
    let error = host.perform(&one_more).expect_err("its failure waited");
    assert!(error.message.contains("/bin/false: failed"), "{error}");
}
