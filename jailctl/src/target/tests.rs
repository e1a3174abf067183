//! Both forms in which kubectl names objects.

use super::*;

fn read(line: &str) -> Result<Targets, Usage> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Targets::read(&words)
}

fn objects(list: &[(Kind, &str)]) -> Targets {
    Targets::Objects(
        list.iter()
            .map(|(kind, name)| (*kind, (*name).to_owned()))
            .collect(),
    )
}

#[test]
fn a_kind_and_names_or_the_form_that_o_name_prints() {
    for (line, expected) in [
        ("jails", Targets::Kinds(vec![Kind::Jail])),
        ("hosts,jails", Targets::Kinds(vec![Kind::Host, Kind::Jail])),
        ("all", Targets::Kinds(Kind::ALL.to_vec())),
        ("j dick", objects(&[(Kind::Jail, "dick")])),
        ("jail/dick", objects(&[(Kind::Jail, "dick")])),
        (
            "jail/dick net/inside host/fbsd-01",
            objects(&[
                (Kind::Jail, "dick"),
                (Kind::Network, "inside"),
                (Kind::Host, "fbsd-01"),
            ]),
        ),
        (
            "Jail tom dick",
            objects(&[(Kind::Jail, "tom"), (Kind::Jail, "dick")]),
        ),
    ] {
        assert_eq!(read(line), Ok(expected), "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_told_with_the_way_out() {
    for (line, expected) in [
        ("", "give KIND, KIND NAME… or KIND/NAME…"),
        ("jial", "did you mean `jails`?"),
        ("pods", "there are hosts, networks, images, jails"),
        ("jail jail/dick", "throughout"),
        ("jail/dick tom", "throughout"),
        ("jail/", "is no KIND/NAME"),
        ("jail/a/b", "is no KIND/NAME"),
        ("pod/a", "there is no kind `pod`"),
    ] {
        let Usage(message) = read(line).expect_err(line);
        assert!(message.contains(expected), "{line}: {message}");
    }
}
