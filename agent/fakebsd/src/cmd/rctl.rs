//! rctl(8).

use crate::emulator::Emulator;
use crate::kernel::rctl::{RESOURCES, Rule};
use crate::output::Output;

/// Runs rctl with the words after its name.
pub(crate) fn run(host: &mut Emulator, arguments: &[String]) -> Output {
    if !host.kernel.racct {
        return Output::failure(
            1,
            "rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1 tunable",
        );
    }
    let (mut add, mut remove, mut usage) = (false, false, false);
    let mut filters = Vec::new();
    for word in arguments {
        match word.strip_prefix('-') {
            Some(letters) if filters.is_empty() => {
                for letter in letters.chars() {
                    match letter {
                        'a' => add = true,
                        'r' => remove = true,
                        'u' => usage = true,
                        _ => {}
                    }
                }
            }
            Some(_) | None => filters.push(word.as_str()),
        }
    }
    let mut output = Output::success();
    if filters.is_empty() {
        filters.push("");
    }
    for text in filters {
        if add {
            if let Err(error) = Rule::parse(text).and_then(|rule| host.kernel.rctl_add(rule)) {
                output.fail(
                    1,
                    format!("rctl: failed to add rule '{text}': {}", error.text()),
                );
            }
        } else if remove {
            if let Err(error) =
                Rule::parse(text).and_then(|filter| host.kernel.rctl_remove(&filter))
            {
                output.fail(
                    1,
                    format!("rctl: failed to remove rule '{text}': {}", error.text()),
                );
            }
        } else if usage {
            for resource in RESOURCES {
                output.line(format!("{resource}=0"));
            }
        } else {
            match Rule::parse(text) {
                Ok(filter) => {
                    for rule in host.kernel.rctl.iter().filter(|rule| filter.matches(rule)) {
                        output.line(rule.text());
                    }
                }
                Err(error) => output.fail(
                    1,
                    format!("rctl: failed to get rules for '{text}': {}", error.text()),
                ),
            }
        }
    }
    output
}
