# What every row of `cargo xtask live` is written with, on a real host and on an emulated one.
#
# A row calls, in this order: what makes its outside world (`wire`, `outside`), `up`, checks and changes (`reach`, `deny`, `change`,
# `holds`), `take_away`. Beside this stand freebsd.sh or emulated.sh, which say how a command is run there (`host`) and what a
# connection is (`attempt`).
set -u
LC_ALL=C
export LC_ALL
umask 022

# The Host of every example.
HOST=fbsd-01
# An address far outside, behind the router 198.18.2.2.
FAR=203.0.113.9

outcome='failed: the script ended before its last line'
generation=0
taken=no
snapped=no

say() { printf '%s\n' "$*"; }

# Shows a command, runs it, and tells its exit status if that is not 0.
shown() {
    say "\$ $*"
    "$@"
    status=$?
    [ $status -eq 0 ] || say "= $status"
    return $status
}

# Ends the row.
fail() {
    outcome="failed: $*"
    say "failed: $*"
    exit 1
}

needs() {
    outcome="not run: needs $*"
    exit 0
}

# Something that must succeed.
must() { shown "$@" || fail "\`$*\` failed"; }

# Undone when the row is over, whatever became of it: jails before interfaces, the last first. Written down before anything is made.
undo() { printf '%s\n' "$*" >>"$DIR/undo"; }
undo_jail() { printf '%s\n' "$*" >>"$DIR/undo.jails"; }

undo_all() {
    for list in "$DIR/undo.jails" "$DIR/undo"; do
        [ -f "$list" ] || continue
        awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' "$list" >"$list.reversed"
        while IFS= read -r line; do eval "$line" </dev/null; done <"$list.reversed"
        rm -f "$list" "$list.reversed"
    done
}

is_interface() { host ifconfig "$1" >/dev/null 2>&1; }
is_jail() { host jls -j "$1" name >/dev/null 2>&1; }
is_gone() { ! host jls -d name | grep -qx "$1"; }
remove_jail() { ! is_jail "$1" || host jail -r "$1"; }
destroy() { ! is_interface "$1" || host ifconfig "$1" destroy; }

# world_jail NAME: a machine outside, or beside: a jail with a network stack of its own.
world_jail() {
    is_jail "$1" && return
    undo_jail "remove_jail $1"
    must host jail -c name="$1" persist vnet path="$BASE"
    must host ifconfig -j "$1" lo0 inet 127.0.0.1/8 up
}

# wire END JAIL: a pair of which END, on the host, stands for a NIC, and the other end is a NIC of JAIL under the name of END.
wire() {
    is_interface "$1" && fail "there is an interface $1 on this host already"
    pair=$(host ifconfig epair create) || fail 'no epair could be made'
    undo "destroy $pair"
    undo "destroy $1"
    must host ifconfig "$pair" name "$1" up
    world_jail "$2"
    must host ifconfig "${pair%a}b" vnet "$2"
    must host ifconfig -j "$2" "${pair%a}b" name "$1" up
}

# add6 INTERFACE ADDRESS/LENGTH, outside6 JAIL INTERFACE ADDRESS/LENGTH
add6() {
    must host ifconfig "$1" inet6 -ifdisabled
    must host ifconfig "$1" inet6 "$2"
}
outside6() {
    must host ifconfig -j "$1" "$2" inet6 -ifdisabled
    must host ifconfig -j "$1" "$2" inet6 "$3"
}

own_addresses() { lacks tentative host ifconfig -a; }

# route_to NET GATEWAY: a route of the host, of its family.
route_to() {
    family=-inet
    case $1 in *:*) family=-inet6 ;; esac
    undo "host route -n delete $family $1 >/dev/null 2>&1"
    must host route -n add $family "$1" "$2"
}

# outside [FAR…]: what the host has behind its first NIC: the jail lvout with 198.18.2.2, and the addresses FAR behind it.
outside() {
    wire lv0 lvout
    must host ifconfig lv0 inet 198.18.2.15/24
    must host ifconfig -j lvout lv0 inet 198.18.2.2/24
    for far in "$@"; do
        must host ifconfig -j lvout lo0 inet "$far/32" alias
        route_to "$far" 198.18.2.2
    done
}

# wait_for SECONDS WHAT COMMAND…: until it succeeds.
wait_for() {
    left=$1
    what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$left" -gt 0 ] || fail "$what did not happen in time"
        left=$((left - 1))
        sleep 1
    done
}

# What our anchors hold. The name of one that holds nothing stays listed for some seconds.
anchors() {
    for anchor in $(host pfctl -a cellblock -sA 2>/dev/null); do
        for what in rules nat Tables; do host pfctl -a "$anchor" -s $what; done
    done
}

# Everything of the host that a row could leave behind. Not: modules, net.fibs, the empty anchor `cellblock` (`jailctl host residue`).
snapshot() {
    {
        say '# ifconfig'
        for name in $(host ifconfig -l | tr ' ' '\n' | sort); do host ifconfig "$name"; done
        say '# jls -d'
        host jls -d name path
        for family in inet inet6; do
            say "# netstat -rn -f $family"
            host netstat -rn -f $family | awk '{ print $1, $2, $3, $4 }'
        done
        for what in rules nat; do
            say "# pfctl -s $what"
            host pfctl -s $what
        done
        say '# anchors'
        anchors
        say '# ngctl list'
        host ngctl list | awk '$1 == "Name:" && $4 != "socket" { print $2, $4 }' | sort
        say '# mount -p'
        host mount -p
        say '# rctl'
        host rctl
        say '# sysctl'
        host sysctl net.inet.ip.forwarding net.inet6.ip6.forwarding
        say '# files'
        files
    } >"$1" 2>&1
}

same_as_before() {
    snapshot "$DIR/after"
    cmp -s "$DIR/before" "$DIR/after"
}

# No root and no image is left, where the row has a storage: no snapshot shows it, and the agent takes them away last.
is_storage_empty() {
    [ -n "${STORAGE:-}" ] || return 0
    for folder in roots images; do
        [ -z "$(host ls "$STORAGE/$folder" 2>/dev/null)" ] || return 1
    done
}

# Until the host is as it was before the example, or for $PATIENCE seconds.
at_rest() {
    patiently
    until same_as_before && is_storage_empty; do
        is_patient || break
        sleep 2
    done
}

ctl() { "$PROGRAMS/jailctl" --server "http://127.0.0.1:$PORT" "$@"; }

# What a row makes of its example before anything else.
adapt() { cat; }

# short_rc: roots are read-only here, and the base system's own: a command stands for the whole of rc(8).
short_rc() {
    adapt() { sed -e 's|/bin/sh /etc/rc$|/usr/bin/true|' -e 's|/bin/sh /etc/rc.shutdown$|/usr/bin/true|'; }
}

# The example's manifest for this host: see the table in docs/operations/live.md. What stands for a NIC may be called as another of the examples'.
substituted() {
    example | adapt | sed \
        -e "s|/jails/|$ROOTS/|g" \
        -e 's/\([^0-9.]\)10\.0\.2\.\([0-9]\)/\1198.18.2.\2/g' \
        -e 's/vtnet\([0-3]\)/@nic\1@/g' \
        -e "s/@nic0@/$NIC0/g" -e "s/@nic1@/$NIC1/g" -e "s/@nic2@/$NIC2/g" -e "s/@nic3@/$NIC3/g"
}

roots() {
    for jail in $(substituted | sed -n "s|.*path: $ROOTS/\([a-z0-9-]*\).*|\1|p"); do root "$jail"; done
}

is_absent() { ! host ls -d "$1" >/dev/null 2>&1; }
flat_mounts() { host mount -p | awk '{ print $2, $3, $4 }'; }

# image: a storage, and a tarball of the host's base system where the example has one of a release.
image() {
    STORAGE=$DIR/storage
    undo "host rm -rf $STORAGE"
    must host mkdir -p "$STORAGE"
    tarred "path: $STORAGE"
}

# The pool that a row makes for itself, and its disk, which is in memory.
POOL=cellblocklive
POOL_SIZE=768m

# zfs_image: likewise, with a storage on that pool. Its two folders stay when all is taken away, so they are there before.
zfs_image() {
    ! host zpool list -H "$POOL" >/dev/null 2>&1 || fail "there is a pool $POOL on this host already"
    STORAGE=$DIR/pool
    undo "host rmdir $STORAGE"
    disk=$(host mdconfig -a -t swap -s $POOL_SIZE) || fail 'no disk in memory could be made'
    undo "host mdconfig -d -u ${disk#md}"
    undo "host zpool destroy -f $POOL"
    must host zpool create -f -m "$DIR/pool" "$POOL" "/dev/$disk"
    STORAGE=$DIR/pool/cb
    for folder in images roots; do must host zfs create -p "$POOL/cb/$folder"; done
    tarred "dataset: $POOL/cb"
}

# tarred FIELD: the tarball, and the example with it and with that storage.
tarred() {
    field=$1
    undo "host rm -f $DIR/base.tar"
    tarball "$DIR/base.tar" || fail 'no tarball of the base system'
    digest=$(host sha256 -q "$DIR/base.tar") || fail 'no digest of the tarball'
    adapt() {
        sed -e 's|/bin/sh /etc/rc$|/usr/bin/true|' -e 's|/bin/sh /etc/rc.shutdown$|/usr/bin/true|' \
            -e "s|storage: .*|storage: {$field}|" -e "s|tarball: .*|tarball: $DIR/base.tar|" -e "s|sha256: .*|sha256: \"$digest\"|"
    }
}

# up: the controller, the agent, and the example as it is.
up() {
    substituted >"$DIR/original.yaml"
    roots
    wait_for 20 'duplicate address detection of the world' own_addresses
    snapshot "$DIR/before"
    snapped=yes
    start_controller
    wait_for 60 'the controller' ctl version
    start_agent
    cp "$DIR/original.yaml" "$DIR/manifest.yaml"
    must ctl apply -f "$DIR/manifest.yaml"
    must ctl host approve $HOST
    settle
}

settle() {
    generation=$((generation + 1))
    short_waits
    must ctl wait -f "$DIR/manifest.yaml" --timeout 300s
}

# change [SED-EXPRESSION…]: the example with changes; without any, as it was. A change that changes nothing is a mistake in the row.
change() {
    sedded "$@" >"$DIR/manifest.yaml"
    if [ $# -gt 0 ] && cmp -s "$DIR/original.yaml" "$DIR/manifest.yaml"; then
        fail "the row is wrong: the change \`$*\` changes nothing"
    fi
    say "# the example${1+, changed by} $*"
    must ctl apply -f "$DIR/manifest.yaml"
    settle
}

sedded() {
    cp "$DIR/original.yaml" "$DIR/sedded"
    for expression in "$@"; do
        sed -e "$expression" "$DIR/sedded" >"$DIR/sedded.new" || fail "the row is wrong: $expression"
        mv "$DIR/sedded.new" "$DIR/sedded"
    done
    cat "$DIR/sedded"
}

# refused PATTERN SED-EXPRESSION…: the controller must refuse it, and say so.
refused() {
    pattern=$1
    shift
    sedded "$@" >"$DIR/refused.yaml"
    say "\$ jailctl apply -f refused.yaml    # $*"
    if ctl apply -f "$DIR/refused.yaml" >"$DIR/said" 2>&1; then
        cat "$DIR/said"
        fail "the controller took what it should refuse: $*"
    fi
    cat "$DIR/said"
    grep -q -e "$pattern" "$DIR/said" || fail "the refusal says nothing of \`$pattern\`"
}

jid() { host jls -j "$1" jid; }

# A probe: FROM (a jail, or `host`) asks for TO, PORT; WHO[:PORT] (a jail, or `host`) listens. Options in variables before the call:
# SOURCE (bound to), AS (a user), FIB (a routing table), ONLY=loopback (the listener is bound to 127.0.0.1 or ::1), ABSENT=yes (of deny: WHO
# is denied because it must not run, and so nobody can listen; that it runs is a failure).
probe() {
    from=$1 to=$2 port=$3 who=${4%%:*}
    inner=$3
    case $4 in *:*) inner=${4##*:} ;; esac
    key="$from $to $port $4 ${SOURCE:-} ${AS:-} ${FIB:-} ${ONLY:-}"
    heard=
}

told() { say "\$ ${SOURCE:+SOURCE=$SOURCE }${AS:+AS=$AS }${FIB:+FIB=$FIB }${ONLY:+ONLY=$ONLY }${ABSENT:+ABSENT=$ABSENT }$*"; }

# A change that touches no generation, such as a label, is at the host when the agent has done it, and no condition says when that is: what is asked for
# is asked for again, for $PATIENCE seconds.
patiently() { patient_until=$(($(date +%s) + PATIENCE)); }
is_patient() { [ "$(date +%s)" -lt $patient_until ]; }

# reach FROM TO PORT WHO [SEEN]: WHO answers, and sees SEEN.
reach() {
    told reach "$@"
    probe "$@"
    patiently
    while :; do
        if attempt; then
            say "  reached $who, which sees $heard"
            [ -z "${5:-}" ] || [ "$5" = "$heard" ] || fail "$from to $to port $port: $who sees $heard, not $5"
            say "$generation $key" >>"$DIR/proven"
            return
        fi
        is_patient || break
        sleep 1
    done
    cat "$DIR/attempt"
    fail "$from does not reach $who by $to port $port"
}

# deny FROM TO PORT WHO: WHO is not reached. The same must have succeeded before, in another state of the manifest: otherwise nothing
# shows that it is the rule which denies it.
deny() {
    told deny "$@"
    probe "$@"
    awk -v now="$generation" -v key="$key" 'BEGIN { found = 1 } { at = $1; sub(/^[0-9]+ /, "") } $0 == key && at != now { found = 0 } END { exit found }' "$DIR/proven" ||
        fail "the row is wrong: nothing shows that $from could reach $who by $to port $port without the rule"
    [ -z "${ABSENT:-}" ] || holds "$who does not run" stopped "$who"
    patiently
    while :; do
        if ! attempt; then
            say '  denied'
            return
        fi
        is_patient || break
        sleep 1
    done
    cat "$DIR/attempt"
    fail "$from reaches $who by $to port $port, which sees $heard"
}

# A host that does not answer has not said so.
stopped() { host jls name >"$DIR/running" && ! grep -qx "$1" "$DIR/running"; }

# holds WHAT COMMAND…: a fact of the host.
holds() {
    what=$1
    shift
    say "\$ $*    # $what"
    patiently
    while :; do
        if "$@" >"$DIR/said" 2>&1; then
            return
        fi
        is_patient || break
        sleep 1
    done
    cat "$DIR/said"
    fail "not so: $what"
}

shows() {
    pattern=$1
    shift
    "$@" >"$DIR/shows" 2>&1
    cat "$DIR/shows"
    grep -q -e "$pattern" "$DIR/shows"
}

lacks() { ! shows "$@"; }

# take_away: all objects are deleted, and the host is as it was before them.
take_away() {
    must ctl delete -f "$DIR/original.yaml" --timeout 180s
    at_rest
    stop_agent
    stop_controller
    if ! same_as_before; then
        diff "$DIR/before" "$DIR/after"
        fail 'the host is not as it was before the example'
    fi
    taken=yes
}

# What tells why, while it can still be asked.
tell() {
    say '--- what the controller knows'
    ctl describe host $HOST
    for kind in networks jails; do ctl get $kind -o wide; done
    ctl describe jail
    say '--- what the host shows'
    for words in 'ifconfig -a' 'jls -d' 'netstat -rn' 'pfctl -s info' 'pfctl -s rules' 'pfctl -s nat'; do
        # shellcheck disable=SC2086
        shown host $words
    done
    for anchor in $(host pfctl -a cellblock -sA 2>/dev/null); do
        shown host pfctl -a "$anchor" -s nat
        shown host pfctl -a "$anchor" -s rules
    done
    say '--- the end of the logs'
    tail -n 40 "$DIR/agent.log"
    tail -n 10 "$DIR/controller.log"
}

# Always the last: everything that was made goes, and the verdict is the last line.
finish() {
    trap - EXIT
    trap '' HUP INT TERM
    case $outcome in
    failed*) [ $snapped = no ] || tell ;;
    esac
    if [ $snapped = yes ] && [ $taken = no ]; then
        ctl delete -f "$DIR/original.yaml" --timeout 60s >/dev/null 2>&1
        at_rest
    fi
    stop_agent
    stop_controller
    sweep
    undo_all
    end_host
    if ! leftover=$(as_found); then
        say "left behind: $leftover"
        case $outcome in
        failed*) ;;
        *) outcome="failed: the row's own world is not gone: $leftover" ;;
        esac
    fi
    say "verdict: $outcome"
}
