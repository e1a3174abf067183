//! Programs that are spoken with, on pipes and on a terminal.

use super::*;
use crate::hardware::HardwareProfile;
use crate::release::Release;

fn host() -> Emulator {
    let mut host = Emulator::new(Release::V15_1, HardwareProfile::recorded());
    host.files.create_directories("/jails/www").expect("room");
    let made = host.sh("jail -c name=www path=/jails/www persist");
    assert!(made.is_success(), "{made:?}");
    host
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn text(heard: &Heard) -> String {
    String::from_utf8_lossy(&heard.stdout).into_owned()
}

#[test]
fn what_goes_into_cat_comes_out_until_its_end() {
    let mut host = host();
    let pid = host.visit(&words("/usr/sbin/jexec -l -d / www cat"), None);
    let heard = host.talk(pid, Said::Input(b"\xff\0a\n"));
    assert_eq!(heard.stdout, b"\xff\0a\n");
    assert_eq!(heard.status, None);
    assert_eq!(host.talk(pid, Said::End).status, Some(0));
    assert_eq!(host.talk(pid, Said::Nothing).status, Some(KILLED), "gone");
}

#[test]
fn a_shell_on_a_terminal_echoes_obeys_and_knows_its_size() {
    let mut host = host();
    let pid = host.visit(&words("jexec -l -d / www /bin/sh"), Some((24, 80)));
    assert_eq!(text(&host.talk(pid, Said::Nothing)), "# ");
    assert_eq!(text(&host.talk(pid, Said::Nothing)), "", "once");
    let heard = host.talk(pid, Said::Input(b"stty sizr\x7fe\r"));
    assert_eq!(text(&heard), "stty sizr\x08 \x08e\r\n24 80\r\n# ");
    host.talk(pid, Said::Window(50, 132));
    let heard = host.talk(pid, Said::Input(b"stty size\r"));
    assert_eq!(text(&heard), "stty size\r\n50 132\r\n# ");
    let heard = host.talk(pid, Said::Input(b"half\x03"));
    assert_eq!(text(&heard), "half^C\r\n# ");
    let heard = host.talk(pid, Said::Input(b"exit 7\r"));
    assert_eq!(heard.status, Some(7));
}

#[test]
fn it_ends_with_its_jail_a_signal_or_whoever_spoke_to_it() {
    let mut host = host();
    let sleep = words("jexec -l -d / www sleep 1000");
    let pid = host.visit(&sleep, None);
    assert_eq!(host.talk(pid, Said::HangUp).status, Some(HUNG_UP));
    let pid = host.visit(&sleep, Some((24, 80)));
    assert_eq!(
        host.talk(pid, Said::Input(b"\x03")).status,
        Some(INTERRUPTED)
    );
    let pid = host.visit(&sleep, None);
    assert!(host.sh("pkill -f sleep").is_success());
    assert_eq!(host.talk(pid, Said::Nothing).status, Some(TERMINATED));
    let pid = host.visit(&sleep, None);
    host.advance(Duration::from_secs(1000));
    assert_eq!(host.talk(pid, Said::Nothing).status, Some(0));
    let pid = host.visit(&sleep, None);
    assert!(host.sh("jail -r www").is_success());
    assert_eq!(host.talk(pid, Said::Nothing).status, Some(KILLED));
}

#[test]
fn what_cannot_be_run_says_so_at_once() {
    let mut host = host();
    let pid = host.visit(&words("jexec -l -d / nosuch id"), None);
    let heard = host.talk(pid, Said::Nothing);
    assert_eq!(heard.status, Some(1));
    let pid = host.visit(&words("jexec -l -d / www nosuch"), None);
    let heard = host.talk(pid, Said::Nothing);
    assert_eq!(heard.status, Some(1));
    assert_eq!(
        heard.stderr,
        b"jexec: execvp: nosuch: No such file or directory\n"
    );
}
