//! A slow jail keeps nobody waiting, shows as busy, and tells its failure when it is asked for again.

use std::sync::Condvar;

use super::*;
use crate::command::{Command, Output};
use crate::system::SystemError;

/// A host on which jail(8) ends when it is let go, with a failure.
#[derive(Default)]
struct Slow {
    released: Mutex<bool>,
    wake: Condvar,
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
        Ok(Some(
            "\"www\" {\n    path = \"/\";\n    persist;\n}\n".to_owned(),
        ))
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

#[test]
fn a_slow_start_goes_on_and_its_failure_is_told_later() {
    let system = Arc::new(Slow::default());
    let host =
        FreeBsd::new(system.clone(), "/var/db/cellblock").with_patience(Duration::from_millis(10));
    let start = Op::StartJail {
        name: "www".to_owned(),
        conf: "/var/db/cellblock/jails/www.conf".to_owned(),
    };
    host.perform(&start).expect("it was begun");
    assert_eq!(host.busy().get("www").map(String::as_str), Some("starting"));
    host.perform(&start)
        .expect("it is under way, and not begun twice");

    *system.released.lock().expect("no test panics with it") = true;
    system.wake.notify_all();
    while !host.busy().is_empty() {
        std::thread::yield_now();
    }
    let error = host.perform(&start).expect_err("the failure waited");
    assert!(error.message.contains("/bin/false: failed"), "{error}");
}

/// However many jails are slow, the agent goes on; and a failure that nobody asks for takes no place.
#[test]
fn one_slow_jail_too_many_is_tried_again() {
    let system = Arc::new(Slow::default());
    let host =
        FreeBsd::new(system.clone(), "/var/db/cellblock").with_patience(Duration::from_millis(1));
    let start = |number: usize| {
        host.perform(&Op::StartJail {
            name: format!("j{number}"),
            conf: format!("/var/db/cellblock/jails/j{number}.conf"),
        })
    };
    for number in 0..JOBS_MAX {
        start(number).expect("it was begun");
    }
    let error = start(JOBS_MAX).expect_err("there are enough");
    assert_eq!((error.reason, error.retry), ("Busy", Retry::After));
    assert_eq!(host.busy().len(), JOBS_MAX);

    *system.released.lock().expect("no test panics with it") = true;
    system.wake.notify_all();
    while !host.busy().is_empty() {
        std::thread::yield_now();
    }
    let error = loop {
        if let Err(error) = start(JOBS_MAX) {
            break error;
        }
    };
    assert!(error.message.contains("/bin/false: failed"), "{error}");
}
