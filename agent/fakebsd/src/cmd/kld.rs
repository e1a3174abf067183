//! kldload(8), kldunload(8), kldstat(8).

use crate::emulator::Emulator;
use crate::kernel::errno::Errno;
use crate::output::Output;

/// `kldload [-nqv] module ...`
pub(crate) fn load(host: &mut Emulator, arguments: &[String]) -> Output {
    let (options, modules): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|word| word.starts_with('-'));
    let tolerant = options.iter().any(|option| option.contains('n'));
    let quiet = options.iter().any(|option| option.contains('q'));
    let mut output = Output::success();
    if modules.is_empty() {
        return Output::failure(1, "usage: kldload [-nqv] file ...");
    }
    for module in modules {
        let reason = match host.kernel.kldload(module) {
            Ok(()) => continue,
            Err(Errno::EEXIST) if tolerant => continue,
            Err(Errno::EEXIST) => "module already loaded or in kernel",
            Err(error) => error.text(),
        };
        output.status = 1;
        if !quiet {
            output.error(format!("kldload: can't load {module}: {reason}"));
        }
    }
    output
}

/// `kldunload module ...`
pub(crate) fn unload(host: &mut Emulator, arguments: &[String]) -> Output {
    let mut output = Output::success();
    for module in arguments.iter().filter(|word| !word.starts_with('-')) {
        if let Err(error) = host.kernel.kldunload(module) {
            output.fail(
                1,
                format!("kldunload: can't find file {module}: {}", error.text()),
            );
        }
    }
    output
}

/// `kldstat [-q] [-m module] [-n file]`
pub(crate) fn stat(host: &mut Emulator, arguments: &[String]) -> Output {
    let quiet = arguments.iter().any(|word| word == "-q");
    let wanted = arguments
        .iter()
        .position(|word| word == "-m" || word == "-n")
        .and_then(|at| arguments.get(at + 1));
    let mut output = Output::success();
    if let Some(module) = wanted {
        let name = module.strip_suffix(".ko").unwrap_or(module);
        let loaded = name == "kernel" || host.kernel.module_loaded(name);
        if !loaded {
            output.status = 1;
            if !quiet {
                output.error(format!(
                    "kldstat: can't find module {module}: {}",
                    Errno::ENOENT.text()
                ));
            }
        } else if !quiet {
            output.line("Id  Refs Name");
            output.line(format!("{:>3}    1 {name}", 1));
        }
        return output;
    }
    output.line("Id Refs Address                Size Name");
    output.line(format!(
        "{:>2} {:>4} 0x{:016x} {:>8x} kernel",
        1,
        host.kernel.modules.len() + 1,
        0xffff_ffff_8000_0000_u64,
        0x8000_0000_u64
    ));
    for (place, module) in host.kernel.modules.iter().enumerate() {
        let address = 0xffff_ffff_8200_0000_u64 + place as u64 * 0x4_0000;
        output.line(format!(
            "{:>2} {:>4} 0x{address:016x} {:>8x} {module}.ko",
            place + 2,
            1,
            0x1_0000
        ));
    }
    output
}
