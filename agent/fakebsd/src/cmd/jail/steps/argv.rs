//! The words of each step's command, as run_command of usr.sbin/jail/command.c puts them together.

use super::{SHELL_CHARACTERS, Step, Work, value};

impl Work<'_, '_> {
    /// The words of a step's command; `None` after a complaint.
    pub(super) fn argv(&mut self, step: Step, text: &str, down: bool) -> Option<Vec<String>> {
        let words = |list: &[&str]| {
            list.iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        Some(match step {
            Step::Inet | Step::Inet6 => self.alias(step, text, down),
            Step::Interface => {
                let jid = self.jid.map(|jid| jid.to_string()).unwrap_or_default();
                words(&[
                    "/sbin/ifconfig",
                    text,
                    if down { "-vnet" } else { "vnet" },
                    &jid,
                ])
            }
            Step::Mount | Step::Fstab => return self.mount(step, text, down),
            Step::Devfs | Step::Fdescfs | Step::Procfs => {
                let Some(path) = value(&self.run.jails[self.at], "path").map(str::to_owned) else {
                    self.run.warn(
                        self.at,
                        &format!("{}: no jail root path defined", step.parameter()),
                    );
                    return None;
                };
                let (fstype, node) = if step == Step::Fdescfs {
                    ("fdescfs", format!("{path}/dev/fd"))
                } else if step == Step::Procfs {
                    ("procfs", format!("{path}/proc"))
                } else {
                    ("devfs", format!("{path}/dev"))
                };
                if !self.check_path(step.parameter(), &node, down) {
                    return None;
                }
                let ruleset = value(&self.run.jails[self.at], "devfs_ruleset")
                    .unwrap_or("4")
                    .to_owned();
                match (down, fstype) {
                    (true, _) => words(&["/sbin/umount", &node]),
                    (false, "devfs") => words(&[
                        "/sbin/mount",
                        "-t",
                        "devfs",
                        &format!("-oruleset={ruleset}"),
                        ".",
                        &node,
                    ]),
                    (false, _) => words(&["/sbin/mount", "-t", fstype, ".", &node]),
                }
            }
            Step::Dataset => {
                let jid = self.jid.map(|jid| jid.to_string()).unwrap_or_default();
                words(&["/sbin/zfs", "jail", &jid, text])
            }
            Step::Prepare
            | Step::Prestart
            | Step::Operation
            | Step::Created
            | Step::Start
            | Step::Command
            | Step::Poststart
            | Step::Prestop
            | Step::Stop
            | Step::Terminate
            | Step::Poststop
            | Step::Release => {
                let lone_ampersand = text.ends_with('&')
                    && !text[..text.len() - 1].contains(|c| SHELL_CHARACTERS.contains(c));
                if text.contains(|c| SHELL_CHARACTERS.contains(c)) && !lone_ampersand {
                    words(&["/bin/sh", "-c", text])
                } else {
                    text.split_whitespace().map(str::to_owned).collect()
                }
            }
        })
    }

    /// IP__IP4_IFADDR and IP__IP6_IFADDR of run_command.
    fn alias(&self, step: Step, text: &str, down: bool) -> Vec<String> {
        let (text, extra) = text
            .split_once(' ')
            .map_or((text, ""), |(text, extra)| (text, extra));
        let (interface, address) = match text.split_once('|') {
            Some((interface, address)) => (interface, address),
            None => (
                value(&self.run.jails[self.at], "interface").unwrap_or_default(),
                text,
            ),
        };
        let family = if step == Step::Inet { "inet" } else { "inet6" };
        let mut argv: Vec<String> = vec!["/sbin/ifconfig".into(), interface.into(), family.into()];
        match address.split_once('/') {
            None if step == Step::Inet => {
                argv.extend([address.into(), "netmask".into(), "255.255.255.255".into()])
            }
            None => argv.extend([address.into(), "prefixlen".into(), "128".into()]),
            Some((bare, mask)) if mask.contains('.') => {
                argv.extend([bare.into(), "netmask".into(), mask.into()])
            }
            Some(_) => argv.push(address.into()),
        }
        if !down {
            argv.extend(extra.split_whitespace().map(str::to_owned));
        }
        argv.push(if down { "-alias" } else { "alias" }.into());
        argv
    }

    /// IP_MOUNT of run_command: `device node type [options]`.
    fn mount(&mut self, step: Step, text: &str, down: bool) -> Option<Vec<String>> {
        let parts: Vec<String> = text.split_whitespace().take(4).map(str::to_owned).collect();
        let [device, node, fstype, options @ ..] = parts.as_slice() else {
            self.run.warn(
                self.at,
                &format!("{}: {text}: missing information", step.parameter()),
            );
            return None;
        };
        if !self.check_path(step.parameter(), node, down) {
            return None;
        }
        if down {
            return Some(vec![
                "/sbin/umount".into(),
                "-t".into(),
                fstype.clone(),
                node.clone(),
            ]);
        }
        let mut argv = vec!["/sbin/mount".to_owned(), "-t".into(), fstype.clone()];
        if let Some(options) = options.first() {
            argv.extend(["-o".into(), options.clone()]);
        }
        argv.extend([device.clone(), node.clone()]);
        Some(argv)
    }

    /// check_path: the mount point must be a directory; on the way down it must be mounted, else there is nothing to do.
    fn check_path(&mut self, parameter: &str, node: &str, down: bool) -> bool {
        if !node.starts_with('/') {
            self.run.warn(
                self.at,
                &format!("{parameter}: {node}: not an absolute pathname"),
            );
            return false;
        }
        if !self.run.host.files.is_directory(node) {
            if !down {
                self.run.warn(
                    self.at,
                    &format!("{parameter}: {node}: No such file or directory"),
                );
            }
            return false;
        }
        true
    }
}

/// A trailing `&` of a directly executed command puts it into the background.
pub(super) fn argv_and_background(mut argv: Vec<String>) -> (Vec<String>, bool) {
    let background = argv.last().is_some_and(|word| word.ends_with('&'))
        && argv.first().is_some_and(|word| word != "/bin/sh");
    if background && let Some(last) = argv.last_mut() {
        last.pop();
        if last.is_empty() {
            argv.pop();
        }
    }
    (argv, background)
}
