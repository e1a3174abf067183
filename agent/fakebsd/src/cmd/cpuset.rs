//! cpuset(1), for jails.

use super::Context;
use crate::emulator::Emulator;
use crate::output::Output;

/// `cpuset -l list -j jail`, `cpuset -g -j jail`.
pub(crate) fn run(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let value = |flag: &str| {
        arguments
            .iter()
            .position(|word| word == flag)
            .and_then(|at| arguments.get(at + 1))
    };
    let gets = arguments.iter().any(|word| word == "-g");
    let Some(which) = value("-j") else {
        return Output::success();
    };
    let Some(jid) = host
        .kernel
        .find_jail(context.jid, which)
        .map(|jail| jail.jid)
    else {
        return Output::failure(1, "cpuset: getid: No such process");
    };
    if let Some(list) = value("-l")
        && list != "0"
    {
        return Output::failure(1, "cpuset: setaffinity: Resource deadlock avoided");
    }
    let mut output = Output::success();
    if gets {
        output.line(format!("jail {jid} mask: 0"));
        output.line(format!("jail {jid} domain policy: first-touch mask: 0"));
    }
    output
}
