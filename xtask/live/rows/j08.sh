# title: commands in jails, and what they write
# example: j02-live-changes/live-changes.yaml
# needs: vimage
adapt() { sed -e 's|/bin/sh /etc/rc$|/bin/echo it begins|' -e 's|/bin/sh /etc/rc.shutdown$|/bin/echo it ends|'; }
up
# said STATUS TEXT WORDS…: jailctl with the words ends so, and has written the text.
said() {
    wanted=$1 text=$2
    shift 2
    say "\$ jailctl $*"
    ctl "$@" <"$DIR/typed" >"$DIR/said" 2>&1
    ended=$?
    cat "$DIR/said"
    [ $ended -eq "$wanted" ] || fail "\`jailctl $*\` ended with $ended, not $wanted"
    grep -q -e "$text" "$DIR/said" || fail "\`jailctl $*\` does not say \`$text\`"
}
: >"$DIR/typed"
said 3 '^hello$' exec web -- sh -c 'echo hello; exit 3'
said 0 '^\*$' exec web -- echo '*'
said 127 'no-such-command' exec web -- no-such-command
printf 'one\ntwo\n' >"$DIR/typed"
said 0 '^two$' exec web -- cat
: >"$DIR/typed"
said 0 '^it begins$' logs web
said 0 '^it begins$' logs db
must ctl restart jail web
settle
said 0 '^it ends$' logs web
said 255 'no-such-jail' exec no-such-jail -- true
take_away
