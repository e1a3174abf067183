//! jls(8): the default table, `-v`, and chosen parameters, as text or as libxo's JSON.

use super::Context;
use super::jailparam::{self, Exported, Known, Type};
use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::kernel::jail::Jail;
use crate::output::Output;

#[derive(Default)]
struct Options {
    dying: bool,
    exists: bool,
    header: bool,
    name_value: bool,
    quoted: bool,
    verbose: bool,
    skip: bool,
    names: bool,
    jail: Option<String>,
    json: bool,
    pretty: bool,
    parameters: Vec<String>,
}

fn usage() -> Output {
    Output::failure(
        1,
        "usage: jls [-dhNnqv] [-j jail] [param ...]\n            jls -c [-d] -j jail",
    )
}

fn parse(kernel: &Kernel, arguments: &[String]) -> Result<Options, Output> {
    let mut options = Options::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if let Some(style) = word.strip_prefix("--libxo") {
            let style = if style.is_empty() {
                words.next().map_or("", String::as_str)
            } else {
                style.trim_start_matches(['=', ':'])
            };
            options.json = style.split(',').any(|part| part == "json");
            options.pretty = style.split(',').any(|part| part == "pretty");
            continue;
        }
        let Some(letters) = word
            .strip_prefix('-')
            .filter(|_| options.parameters.is_empty())
        else {
            options.parameters.push(word.clone());
            continue;
        };
        for letter in letters.chars() {
            match letter {
                'a' | 'd' => options.dying = true,
                // `jls -c` is new in 15.0 (usr.sbin/jls/jls.c).
                'c' if kernel.release.has_jail_meta() => options.exists = true,
                'h' => (options.header, options.skip, options.verbose) = (true, false, false),
                'N' => options.names = true,
                'n' => (options.name_value, options.verbose) = (true, false),
                'q' => options.quoted = true,
                's' => {
                    (
                        options.name_value,
                        options.quoted,
                        options.skip,
                        options.header,
                        options.verbose,
                    ) = (true, true, true, false, false)
                }
                'v' => {
                    (
                        options.verbose,
                        options.header,
                        options.name_value,
                        options.skip,
                    ) = (true, false, false, false)
                }
                'j' => options.jail = Some(words.next().ok_or_else(usage)?.clone()),
                _ => return Err(usage()),
            }
        }
    }
    Ok(options)
}

/// Runs jls with the words after its name.
pub(crate) fn run(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let options = match parse(&host.kernel, arguments) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let parameters = match parameters(&mut host.kernel, &options) {
        Ok(parameters) => parameters,
        Err(output) => return output,
    };
    let kernel = &host.kernel;
    if options.exists {
        let Some(which) = &options.jail else {
            return usage();
        };
        return Output {
            status: i32::from(chosen(kernel, context, &options, which).is_none()),
            ..Output::default()
        };
    }
    let mut output = Output::success();
    if !options.json {
        print_header(&options, &parameters, &mut output);
    }
    let jails: Vec<&Jail> = match &options.jail {
        Some(which) => match chosen(kernel, context, &options, which) {
            Some(jail) => vec![jail],
            None => {
                let why = kernel.no_jail(context.jid, which);
                output.fail(1, format!("jls: {why}"));
                return output;
            }
        },
        None => kernel
            .jails
            .all
            .values()
            .filter(|jail| {
                (options.dying || !jail.dying)
                    && (context.jid == 0 || kernel.is_descendant(jail.jid, context.jid))
            })
            .collect(),
    };
    if options.json {
        print_json(kernel, context, &options, &parameters, &jails, &mut output);
    } else {
        for jail in jails {
            print_text(kernel, context, &options, &parameters, jail, &mut output);
        }
    }
    output
}

fn chosen<'a>(
    kernel: &'a Kernel,
    context: &Context,
    options: &Options,
    which: &str,
) -> Option<&'a Jail> {
    kernel.find_jail(context.jid, which).or_else(|| {
        if !options.dying {
            return None;
        }
        match which.parse::<i32>() {
            Ok(jid) => kernel.jail(jid),
            Err(_) => kernel
                .jails
                .all
                .values()
                .find(|jail| jail.dying && jail.name == kernel.full_name(context.jid, which)),
        }
    })
}

/// The parameters to print: those named, or all of them where a table has no columns of its own.
fn parameters(kernel: &mut Kernel, options: &Options) -> Result<Vec<Known>, Output> {
    if options.parameters.is_empty() {
        return Ok(if options.header || options.name_value {
            jailparam::all(kernel)
        } else {
            Vec::new()
        });
    }
    let mut known = Vec::new();
    for name in &options.parameters {
        if name == "all" {
            known.extend(jailparam::all(kernel));
        } else {
            known
                .push(jailparam::lookup(kernel, name).ok_or_else(|| {
                    Output::failure(1, format!("jls: unknown parameter: {name}"))
                })?);
        }
    }
    Ok(known)
}

fn print_header(options: &Options, parameters: &[Known], output: &mut Output) {
    if options.verbose && parameters.is_empty() {
        output.line("   JID  Hostname                      Path");
        output.line("        Name                          State");
        output.line("        CPUSetID");
        output.line("        IP Address(es)");
    } else if parameters.is_empty() {
        output.line(if options.names {
            " JID             IP Address      Hostname                      Path"
        } else {
            "   JID  IP Address      Hostname                      Path"
        });
    } else if options.header {
        output.line(
            parameters
                .iter()
                .map(|known| known.name.as_str())
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
}

fn print_text(
    kernel: &Kernel,
    context: &Context,
    options: &Options,
    parameters: &[Known],
    jail: &Jail,
    output: &mut Output,
) {
    let first = jail
        .ip4
        .list()
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    if options.verbose && parameters.is_empty() {
        output.line(format!(
            "{:>6}  {:<29.29} {:.74}",
            jail.jid, jail.hostname, jail.path
        ));
        output.line(format!("        {:<29.29} {}", jail.name, state(jail)));
        output.line(format!("        {}", jail.cpuset));
        let lines = jail
            .ip4
            .list()
            .iter()
            .map(ToString::to_string)
            .chain(jail.ip6.list().iter().map(ToString::to_string));
        lines.for_each(|line| output.line(format!("        {line}")));
    } else if parameters.is_empty() {
        let key = if options.names {
            format!(" {:<15} ", jail.name)
        } else {
            format!("{:>6}  ", jail.jid)
        };
        output.line(format!(
            "{key}{first:<15.15} {:<29.29} {:.74}",
            jail.hostname, jail.path
        ));
    } else {
        let words: Vec<String> = parameters
            .iter()
            .filter(|known| !options.skip || settable(jail, known))
            .map(|known| print_parameter(kernel, context, options, known, jail))
            .collect();
        output.line(words.join(" "));
    }
}

/// `-s` prints what jail(8) could be given: no read-only values, and details of a subsystem only if that is `new`.
fn settable(jail: &Jail, known: &Known) -> bool {
    if matches!(
        known.name.as_str(),
        "dying" | "parent" | "children.cur" | "cpuset.id"
    ) {
        return false;
    }
    match known.name.split('.').next() {
        Some("ip4") if known.name.contains('.') => {
            matches!(jail.ip4, crate::kernel::jail::Addresses::Restricted(_)) && !jail.owns_stack
        }
        Some("ip6") if known.name.contains('.') => {
            matches!(jail.ip6, crate::kernel::jail::Addresses::Restricted(_)) && !jail.owns_stack
        }
        Some(_) | None => true,
    }
}

fn state(jail: &Jail) -> &'static str {
    if jail.dying { "DYING" } else { "ACTIVE" }
}

fn print_parameter(
    kernel: &Kernel,
    context: &Context,
    options: &Options,
    known: &Known,
    jail: &Jail,
) -> String {
    let value = jailparam::export(kernel, context.jid, jail, known);
    match &value {
        Exported::MissingKey => {
            return if options.name_value {
                known.name.clone()
            } else {
                String::new()
            };
        }
        Exported::Flag(on) if options.name_value => {
            return if *on {
                known.name.clone()
            } else {
                jailparam::with_no(&known.name)
            };
        }
        Exported::Flag(_) | Exported::Text(_) | Exported::Inet(_) | Exported::Inet6(_) => {}
    }
    let empty_list = matches!(&value, Exported::Inet(list) if list.is_empty())
        || matches!(&value, Exported::Inet6(list) if list.is_empty());
    let text = match value.text() {
        _ if empty_list && options.quoted => "\"\"".to_owned(),
        _ if empty_list && options.name_value => String::new(),
        _ if empty_list => "-".to_owned(),
        text if text.is_empty() => "\"\"".to_owned(),
        text if options.quoted => quoted(&text),
        text => text,
    };
    if options.name_value {
        format!("{}={text}", known.name)
    } else {
        text
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') {
        "\""
    } else if text.contains('"') {
        "'"
    } else if text.contains(char::is_whitespace) {
        "\""
    } else {
        ""
    };
    format!("{quote}{text}{quote}")
}

/// One field or list of a JSON object. libxo writes a list with blanks around it.
enum Field {
    Pair(String, String),
    List(String, Vec<String>),
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn fields(
    kernel: &Kernel,
    context: &Context,
    options: &Options,
    parameters: &[Known],
    jail: &Jail,
) -> Vec<Field> {
    let pair = |name: &str, value: String| Field::Pair(name.to_owned(), value);
    let strings = |list: Vec<String>| list.iter().map(|text| json_string(text)).collect();
    let inet = || {
        jail.ip4
            .list()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let inet6 = || {
        jail.ip6
            .list()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    if options.verbose && parameters.is_empty() {
        return vec![
            pair("jid", jail.jid.to_string()),
            pair("hostname", json_string(&jail.hostname)),
            pair("path", json_string(&jail.path)),
            pair("name", json_string(&jail.name)),
            pair("state", json_string(state(jail))),
            pair("cpusetid", jail.cpuset.to_string()),
            Field::List("ipv4_addrs".into(), strings(inet())),
            Field::List("ipv6_addrs".into(), strings(inet6())),
        ];
    }
    if parameters.is_empty() {
        let key = if options.names {
            pair("name", json_string(&jail.name))
        } else {
            pair("jid", jail.jid.to_string())
        };
        let first = inet().into_iter().next().unwrap_or_default();
        return vec![
            key,
            pair("ipv4", json_string(&first)),
            pair("hostname", json_string(&jail.hostname)),
            pair("path", json_string(&jail.path)),
        ];
    }
    let mut fields = Vec::new();
    for known in parameters
        .iter()
        .filter(|known| !options.skip || settable(jail, known))
    {
        match jailparam::export(kernel, context.jid, jail, known) {
            Exported::MissingKey => {}
            Exported::Flag(on) if options.name_value => {
                fields.push(pair(&known.name, on.to_string()))
            }
            Exported::Inet(_) => fields.push(Field::List(known.name.clone(), strings(inet()))),
            Exported::Inet6(_) => fields.push(Field::List(known.name.clone(), strings(inet6()))),
            value @ (Exported::Flag(_) | Exported::Text(_)) => {
                debug_assert!(
                    known.kind != Type::Inet && known.kind != Type::Inet6,
                    "address lists were taken above"
                );
                fields.push(pair(&known.name, json_string(&value.text())));
            }
        }
    }
    fields
}

fn print_json(
    kernel: &Kernel,
    context: &Context,
    options: &Options,
    parameters: &[Known],
    jails: &[&Jail],
    output: &mut Output,
) {
    let objects: Vec<Vec<Field>> = jails
        .iter()
        .map(|jail| fields(kernel, context, options, parameters, jail))
        .collect();
    if options.pretty {
        output.stdout.push_str(&pretty(&objects));
        return;
    }
    let objects: Vec<String> = objects
        .iter()
        .map(|fields| {
            let mut text = String::new();
            for (place, field) in fields.iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                match field {
                    Field::Pair(name, value) => {
                        text.push_str(&format!("{comma}\"{name}\":{value}"))
                    }
                    Field::List(name, values) => text.push_str(&format!(
                        "{comma}{}\"{name}\": [{}]",
                        if place == 0 { "" } else { " " },
                        values.join(",")
                    )),
                }
            }
            format!("{{{text}}}")
        })
        .collect();
    output.line(format!(
        "{{\"__version\": \"2\", \"jail-information\": {{\"jail\": [{}]}}}}",
        objects.join(", ")
    ));
}

/// libxo's indented form: two blanks a level, a blank after the comma of a container's neighbour.
fn pretty(objects: &[Vec<Field>]) -> String {
    let mut text =
        String::from("{\n  \"__version\": \"2\", \n  \"jail-information\": {\n    \"jail\": [\n");
    for (place, fields) in objects.iter().enumerate() {
        text.push_str("      {\n");
        for (at, field) in fields.iter().enumerate() {
            let comma = if at + 1 < fields.len() { "," } else { "" };
            match field {
                Field::Pair(name, value) => {
                    text.push_str(&format!("        \"{name}\": {value}{comma}\n"))
                }
                Field::List(name, values) => {
                    text.push_str(&format!("        \"{name}\": [\n"));
                    for (index, value) in values.iter().enumerate() {
                        text.push_str(&format!(
                            "          {value}{}\n",
                            if index + 1 < values.len() { "," } else { "" }
                        ));
                    }
                    text.push_str(&format!("        ]{comma}\n"));
                }
            }
        }
        text.push_str(if place + 1 < objects.len() {
            "      },\n"
        } else {
            "      }\n"
        });
    }
    text.push_str("    ]\n  }\n}\n");
    text
}
