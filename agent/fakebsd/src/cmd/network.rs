//! ping(8) and nc(1), as far as their effects on the kernel go: bridges learn, connections keep stacks alive.

use std::net::IpAddr;
use std::time::Duration;

use super::Context;
use crate::emulator::Emulator;
use crate::output::Output;

/// Runs one of them with the words after its name.
pub(crate) fn run(
    host: &mut Emulator,
    context: &Context,
    program: &str,
    arguments: &[String],
    stdin: &str,
) -> Output {
    match program {
        "ping" => ping(host, context, arguments),
        "nc" => netcat(host, context, arguments, stdin),
        _ => Output::success(),
    }
}

fn ping(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let Some(target) = arguments
        .iter()
        .rev()
        .find_map(|word| word.parse::<IpAddr>().ok())
    else {
        return Output::failure(64, "usage: ping host");
    };
    if host
        .kernel
        .route_lookup(context.stack, context.fib, target)
        .is_none()
    {
        return Output::failure(2, "ping: sendto: No route to host");
    }
    Output::success()
}

/// A listener waits in the background and needs no modelling beyond its jail; a client leaves a connection in both stacks.
fn netcat(host: &mut Emulator, context: &Context, arguments: &[String], _stdin: &str) -> Output {
    if arguments
        .iter()
        .any(|word| word.starts_with('-') && word.contains('l'))
    {
        return Output::success();
    }
    let Some(target) = arguments
        .iter()
        .find_map(|word| word.parse::<IpAddr>().ok())
    else {
        return Output::failure(1, "usage: nc host port");
    };
    let open_for = host.detached.unwrap_or(Duration::ZERO);
    let closes = host.kernel.now + open_for;
    let far = host.kernel.stack_of_address(target);
    for (stack, peer) in [(Some(context.stack), target), (far, target)] {
        if let Some(stack) = stack {
            let interface = host.kernel.interface_towards(stack, peer);
            host.kernel.connect(stack, interface, closes);
        }
    }
    Output::success()
}
