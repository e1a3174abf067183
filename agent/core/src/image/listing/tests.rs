use super::check;

fn line(kind: &str, name: &str) -> String {
    format!("{kind}rwxr-xr-x  0 root   wheel       0 Nov  2  2026 {name}\n")
}

#[test]
fn a_release_is_taken() {
    let listing = [
        line("d", "./"),
        line("d", "./bin/"),
        line("-", "./bin/sh"),
        line("h", "./bin/[ link to ./bin/test"),
        line("-", "./bin/ed link to ./bin/red"),
        line("l", "./sys -> usr/src/sys"),
        line("l", "./etc/os-release -> ../var/run/os-release"),
        line("l", "./usr/share/misc/termcap -> /etc/termcap"),
        "drwxr-xr-x  0 root   wheel       0 -- -- ---- ./usr/share/a name with blanks/\n"
            .to_owned(),
    ];
    assert_eq!(check(&listing.concat()), Ok(()));
}

#[test]
fn what_no_release_has_is_refused() {
    for (entry, words) in [
        (line("-", "/etc/passwd"), "an absolute path"),
        (line("-", "./a/../../etc/passwd"), "`..` in it"),
        (line("d", ".."), "`..` in it"),
        (line("l", "./etc/a -> ../../root"), "leaves the root"),
        (line("l", "./a -> /../root"), "leaves the root"),
        (line("l", "./a/b -> c/../../.."), "leaves the root"),
        (line("l", "./a -> b -> c"), "cannot be read"),
        (line("h", "./a link to /etc/passwd"), "is outside"),
        (line("-", "./a link to ../b"), "is outside"),
        (line("l", "./usr -> /"), "no directory"),
        (line("l", ".//usr/. -> var"), "no directory"),
        (line("l", "./ -> /"), "no directory"),
        (line("-", "usr"), "no directory"),
        (line("c", "./dev/mem"), "a device"),
        (line("b", "./dev/da0"), "a device"),
        (line("p", "./a"), "a pipe"),
        (line("s", "./a"), "a socket"),
        (line("w", "./a"), "nobody knows"),
        ("-rw a b\n".to_owned(), "cannot be read"),
        (String::new(), "nothing in it"),
    ] {
        let refused = check(&entry).expect_err("it is refused");
        assert!(refused.contains(words), "{entry}: {refused}");
    }
}
