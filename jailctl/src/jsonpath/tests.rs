//! The expressions of kubectl's reference (kubernetes.io, "JSONPath Support") and of client-go's tests (`util/jsonpath/jsonpath_test.go`,
//! `parser_test.go`), on documents of ours; and what is refused, by name.

use serde_json::json;

use super::*;

fn list() -> Value {
    json!({"kind": "List", "items": [
        {"kind": "Jail", "metadata": {"name": "dick", "labels": {"example.org/rack": "a1"}},
         "spec": {"parameters": {"exec.clean": true}},
         "status": {"jid": 4, "ready": true, "load": 0.5, "addresses": [{"type": "static", "address": "10.0.0.1"}]}},
        {"kind": "Jail", "metadata": {"name": "tom", "labels": {}},
         "status": {"jid": 8, "ready": false, "load": 1.5, "addresses": [
             {"type": "static", "address": "10.0.0.2"}, {"type": "allocate", "address": "10.0.0.3"}]}}],
        "users": [{"name": "nobody", "user": {}}, {"name": "olga", "user": {"name": "o", "shell": "/bin/sh"}}],
        "empty": [], "days": ["mo", "tu", "we", "th"], "nothing": null})
}

fn render(template: &str) -> Result<String, String> {
    template.parse::<Template>()?.render(&list())
}

#[test]
fn templates_are_read_as_kubectl_reads_them() {
    for (template, expected) in [
        ("kind is {.kind}", "kind is List"),
        ("{.kind}", "List"),
        ("{['kind']}", "List"),
        ("{$.kind}{@.kind}", "ListList"),
        ("{ .kind }", "List"),
        ("{.nothing}-{.missing}-{.missing.deep}", "null--"),
        ("before-{.hello}after", "before-after"),
        ("{.items[*].metadata.name}", "dick tom"),
        ("{.items.*.metadata.name}", "dick tom"),
        ("{..name}", "dick tom nobody olga o"),
        ("{...name}", "dick tom nobody olga o"),
        ("{.users..name}", "nobody olga o"),
        ("{..addresses[0].address}", "10.0.0.1 10.0.0.2"),
        ("{.users[0].name}", "nobody"),
        ("{.users[1].user}", "{\"name\":\"o\",\"shell\":\"/bin/sh\"}"),
        ("{.users[-1:].name}", "olga"),
        ("{.days}", "[\"mo\",\"tu\",\"we\",\"th\"]"),
        ("{.days[0]}{.days[-1]}{.days[-4]}", "mothmo"),
        ("{.days[0:2]}", "mo tu"),
        ("{.days[:2]}", "mo tu"),
        ("{.days[1:]}", "tu we th"),
        ("{.days[0:-1]}", "mo tu we"),
        ("{.days[::2]}", "mo we"),
        ("{.days[1::2]}", "tu th"),
        ("{.days[0:0]}{.days[5:5]}{.days[-5:-5]}{.empty[*]}", ""),
        ("{.days[1,3]}", "tu th"),
        ("{.items[*]['metadata.name', 'status.jid']}", "dick tom 4 8"),
        ("{.items[*]['metadata.name','kind']}", "dick tom Jail Jail"),
        ("{.items[0]['metadata.labels.example\\.org/rack']}", "a1"),
        ("{.items[0].metadata.labels.example\\.org/rack}", "a1"),
        ("{.items[0].spec.parameters.exec\\.clean}", "true"),
        ("{.users[?(@.name==\"olga\")].user.shell}", "/bin/sh"),
        ("{.users[?(@.name == 'olga')].user.shell}", "/bin/sh"),
        ("{.users[?(.name==\"olga\")].user.shell}", "/bin/sh"),
        ("{.users[?@.name==\"olga\"].user.shell}", "/bin/sh"),
        ("{.users[?(@.name!=\"olga\")].name}", "nobody"),
        ("{.users[?(@.user.shell)].name}", "olga"),
        ("{.items[?(@.status.jid<5)].metadata.name}", "dick"),
        ("{.items[?(@.status.jid>=4)].metadata.name}", "dick tom"),
        ("{.items[?(@.status.load>1)].metadata.name}", "tom"),
        ("{.items[?(@..ready==true)].metadata.name}", "dick"),
        (
            "{.items[?(@.metadata.labels.example\\.org/rack==\"a1\")].metadata.name}",
            "dick",
        ),
        ("{.days[?(@!=\"mo\")]}", "tu we th"),
        ("{.days[?(@==\"(\\\"\\\")\")]}", ""),
        (
            "{.items[?(@.status.addresses[?(@.type==\"allocate\")])].metadata.name}",
            "tom",
        ),
        ("{\"{\"}{'}'}", "{}"),
        ("{'\\t'}{\"\\n\"}{\"\\\"\\u00e9\\\\\"}", "\t\n\"\u{e9}\\"),
    ] {
        assert_eq!(render(template), Ok(expected.to_owned()), "{template}");
    }
}

#[test]
fn a_range_repeats_what_is_in_it() {
    for (template, expected) in [
        (
            "{range .items[*]}{.metadata.name}{\"\\t\"}{.status.jid}{\"\\n\"}{end}",
            "dick\t4\ntom\t8\n",
        ),
        (
            "{range .items[*]}{.metadata.name}, {end}{.kind}",
            "dick, tom, List",
        ),
        (
            "{range .items[*]}[{.metadata.name}, {.status.jid}] {end}",
            "[dick, 4] [tom, 8] ",
        ),
        ("{range .items[*]}{@.kind}{end}", "JailJail"),
        ("{range .days[*]}{@}{' '}{end}", "mo tu we th "),
        (
            "{range .items[*]}{range .status.addresses[*]}{.address}, {end}{end}",
            "10.0.0.1, 10.0.0.2, 10.0.0.3, ",
        ),
        (
            "{range .items[*]}{.metadata.name}:{range @.status.addresses[*]}{.type},{end}+{range .status.addresses[*]}{.address} {end}{\"\\n\"}{end}.",
            "dick:static,+10.0.0.1 \ntom:static,allocate,+10.0.0.2 10.0.0.3 \n.",
        ),
        ("{range .empty[*]}x{range .a[*]}y{end}{end}z", "z"),
        ("{range .missing[*]}x{end}", ""),
        (
            "{range .users[?(@.user.shell)]}{.name} has {.user.shell}\n{end}",
            "olga has /bin/sh\n",
        ),
    ] {
        assert_eq!(render(template), Ok(expected.to_owned()), "{template}");
    }
}

#[test]
fn what_is_not_kubectls_form_is_refused_by_name() {
    for (template, expected) in [
        ("{range .items[*]}x", "has no end"),
        ("{end}", "no {range …} before this {end}"),
        (
            "{range .items[*]}{end}{end}",
            "no {range …} before this {end}",
        ),
        ("{hello}", "`hello` is no word"),
        ("{.hello", "a brace is not closed"),
        ("{*}", "`*}` makes no sense"),
        ("{\\\\\\}", "makes no sense"),
        ("{}", "stands nothing"),
        ("{.}", "a name is missing"),
        ("{.a.}", "a name is missing"),
        ("{.a.['b']}", "a name is missing"),
        ("{.kind .items}", "one pair of braces holds one expression"),
        ("{.kind \"x\"}", "one pair of braces holds one expression"),
        ("{.a,.b}", "`,.b}` makes no sense"),
        ("{....a}", "`..` twice"),
        ("{.days[1}", "`[` is not closed"),
        ("{.days[x]}", "`x` is no index"),
        ("{.days[1:2:3:4]}", "is no index"),
        ("{.days[]}", "is no index"),
        (
            "{.items[*][\"metadata.name\",\"kind\"]}",
            "in single quotes",
        ),
        ("{.users[?(@.name]}", "the filter is not closed"),
        ("{.users[?(@.name<>1)]}", "`<>` is no comparison"),
        ("{.users[?(@.name=1)]}", "`=` is no comparison"),
        ("{.users[?(@.name=~\"o.*\")]}", "no regular expressions"),
        ("{.users[?(@.a==1 && @.b==2)]}", "without && and ||"),
        ("{.users[?(@.a || @.b)]}", "without && and ||"),
        ("{.users[?(!@.a)]}", "turn around"),
        (
            "{.users[?(@.a==null)]}",
            "`null` is nothing that a filter compares",
        ),
        ("{\"a}", "a quote is not closed"),
        ("{\"\\q\"}", "`\\q` is nothing"),
    ] {
        let error = template
            .parse::<Template>()
            .map(|_| ())
            .expect_err(template);
        assert!(error.contains(expected), "{template}: {error}");
    }
}

#[test]
fn what_a_document_cannot_have_is_an_error() {
    for (template, expected) in [
        ("{.users[2].name}", "no entry [2] in a list of 2"),
        ("{.days[-5]}", "no entry [-5] in a list of 4"),
        ("{.empty[0]}", "no entry [0] in a list of 0"),
        ("{.days[-1:0]}", "no [-1:0] in a list of 4"),
        ("{.days[3:1]}", "no [3:1] in a list of 4"),
        ("{.days[0:9]}", "no [0:9] in a list of 4"),
        ("{.days[0:4:0]}", "a step is at least 1"),
        (
            "{.items[0].metadata.labels[*]}",
            "an object of example.org/rack is no list",
        ),
        ("{.kind[?(@.a)]}", "the text `List` is no list"),
        (
            "{.users[?(@.name>1)]}",
            "cannot compare the text `nobody` with the value 1",
        ),
        ("{.users[?(@..name==\"o\")]}", "one value at a time"),
    ] {
        let error = render(template).expect_err(template);
        assert!(error.contains(expected), "{template}: {error}");
        assert!(error.contains(template), "it says where: {error}");
    }
}

#[test]
fn one_expression_needs_neither_braces_nor_its_first_dot() {
    for text in [".kind", "kind", "$.kind", "['kind']"] {
        assert_eq!(render(text), Ok("List".to_owned()), "{text}");
    }
    for text in ["{kind}", "{.kind}", "kind", ".kind", "@.kind"] {
        let template = Template::relaxed(text).expect(text);
        assert_eq!(template.render(&list()), Ok("List".to_owned()), "{text}");
    }
    assert_eq!(closing("{.a[?(@.b==\"}\\\"}\")]}=x"), Some(19));
}

#[test]
fn what_finds_nothing_in_one_list_finds_it_in_the_next() {
    let value = json!({"items": [{"a": []}, {"a": [1, 2]}]});
    let template: Template = "{.items[*].a[*]}".parse().expect("a template");
    assert_eq!(template.render(&value), Ok("1 2".to_owned()));
}
