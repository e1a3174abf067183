# title: changing a running jail
# example: j02-live-changes/live-changes.yaml
# needs: vimage
short_rc
up
tells() {
    say "\$ jailctl diff    # $2"
    sedded "$2" | ctl diff -f - >"$DIR/said" 2>&1
    cat "$DIR/said"
    grep -q -e "$1" "$DIR/said" || fail "the difference does not say \`$1\`"
}
before=$(jid web)
db=$(jid db)
tells 'live: ' 's/allow.raw_sockets: false/allow.raw_sockets: true/'
change 's/allow.raw_sockets: false/allow.raw_sockets: true/' 's/enforce_statfs: 2/enforce_statfs: 1/' '/name: web/,/^---/s/exec.stop: .*/&\
    children.max: 2\
    allow.chflags: true\
    host.hostname: web.example.org/'
for one in 'allow.raw_sockets true' 'enforce_statfs 1' 'children.max 2' 'allow.chflags true' 'host.hostname web.example.org'; do
    set -- $one
    holds "$1 is $2" shows "^$2\$" host jls -j web $1
done
# What somebody changes by hand is changed back.
must host jail -m name=web allow.raw_sockets=false
wait_for 60 'that the agent changed it back' shows '^true$' host jls -j web allow.raw_sockets
change
for one in 'allow.raw_sockets false' 'enforce_statfs 2' 'children.max 0' 'allow.chflags false' 'host.hostname web'; do
    set -- $one
    holds "$1 is $2" shows "^$2\$" host jls -j web $1
done
[ "$before" = "$(jid web)" ] || fail 'web was started again'
change 's/securelevel: 1/securelevel: 2/'
holds 'the securelevel is raised' shows '^2$' host jls -j db securelevel
change
holds 'and lowered' shows '^1$' host jls -j db securelevel
# A jail that is not to be restarted keeps what runs until somebody says so.
tells 'restart' '/name: db/,$s|exec.stop: .*|&\
    sysvshm: new|'
sedded '/name: db/,$s|exec.stop: .*|&\
    sysvshm: new|' >"$DIR/manifest.yaml"
must ctl apply -f "$DIR/manifest.yaml"
wait_for 60 'that db waits for its restart' shows RestartNeeded ctl describe jail db
holds 'it is as it was' shows '^disable$' host jls -j db sysvshm
[ "$db" = "$(jid db)" ] || fail 'db was started again'
must ctl restart jail db
must ctl wait jail db --timeout 120s
holds 'it is what it should be' shows '^new$' host jls -j db sysvshm
[ "$db" != "$(jid db)" ] || fail 'db was not started again'
take_away
