# An emulated host: this script runs on the developer's machine, and every command of the host at the console of the emulator.
PATIENCE=20

host() { "$PROGRAMS/cellblock-agent" console --socket "$DIR/host.sock" "$@"; }

# What a host of the recordings has.
facts() {
    say 'system=FreeBSD'
    say 'release=15.1-RELEASE-p1 (emulated)'
    say 'uid=0'
    say 'vimage=1'
    say 'racct=1'
    say 'modules=if_epair if_bridge if_lagg if_vlan netgraph ng_bridge ng_eiface ng_ether pf zfs'
    say 'nics=vtnet1 vtnet2 vtnet3'
    for program in /usr/sbin/rtadvd /usr/libexec/bootpd; do say "installed=$program"; done
    say 'missing='
    say 'pf=ours'
    say 'taken='
}

begin_host() {
    : >"$DIR/proven"
    : >"$DIR/undo"
    "$PROGRAMS/cellblock-agent" --host-name $HOST emulate --socket "$DIR/host.sock" >"$DIR/host.log" 2>&1 </dev/null &
    machine=$!
    wait_for 30 'the emulated host' host uname
    for module in $MODULES; do must host kldload -n "$module"; done
    as_found_now >"$DIR/found"
}

end_host() {
    leftover=$(found_again) && world_gone=yes || world_gone=no
    kill $machine 2>/dev/null
    wait $machine 2>/dev/null
}

as_found_now() {
    host ifconfig -l | tr ' ' '\n' | sort
    host jls -d name
    host netstat -rn | awk '{ print $1, $2, $3, $4 }'
    host mount -p
    anchors
}

found_again() {
    for try in 1 2 3 4 5 6 7 8 9 10; do
        as_found_now >"$DIR/left"
        cmp -s "$DIR/found" "$DIR/left" && return 0
        sleep 1
    done
    diff "$DIR/found" "$DIR/left" | tr '\n' ' '
    return 1
}

as_found() {
    say "$leftover"
    [ $world_gone = yes ]
}

root() { must host mkdir -p "$ROOTS/$1/dev"; }

# They are there.
writable() { :; }

ruleset() {
    must host devfs rule -s "$1" add include 5
    must host devfs rule -s "$1" add path 'bpf*' unhide
}

# As the emulator's tar(1) reads it.
tarball() {
    host sh -c "echo '#tar
d .
d ./bin
f ./bin/sh sh
d ./dev
d ./etc
f ./etc/passwd root
d ./lib
F ./lib/libc.so.7 libc
d ./root
d ./tmp
d ./usr
d ./usr/bin
f ./usr/bin/true true
d ./var
d ./var/empty
#end' >'$1'"
}

advertise() {
    must host sysctl -j "$1" net.inet6.ip6.forwarding=1
    must host jexec "$1" rtadvd -c /dev/null "$2"
}

lend() {
    must host sh -c "echo 'guest:ht=ethernet:ha=$4:ip=$3:sm=255.255.255.0:gw=$2:' > /etc/bootptab"
    must host jexec "$1" /usr/libexec/bootpd -s -h "$2" /etc/bootptab
}

# It is there.
install_agent() { :; }

files() { :; }

start_controller() {
    "$PROGRAMS/cellblockd" --listen "127.0.0.1:$PORT" --store "embedded:$DIR/store.redb" >"$DIR/controller.log" 2>&1 </dev/null &
    controller=$!
}

start_agent() {
    "$PROGRAMS/cellblock-agent" --host emulated --emulator "$DIR/host.sock" --controller "http://127.0.0.1:$PORT" --host-name $HOST --state-dir "$DIR/state" --resync-seconds 1 >"$DIR/agent.log" 2>&1 </dev/null &
    agent=$!
}

controller=
agent=
stop() {
    [ -n "$1" ] || return 0
    kill "$1" 2>/dev/null
    wait "$1" 2>/dev/null
    return 0
}
stop_controller() {
    stop "$controller"
    controller=
}
stop_agent() {
    stop "$agent"
    agent=
}

# No connection is made.
short_waits() { :; }

# The whole machine goes.
sweep() { :; }

# The packet's way, instead of a connection.
attempt() {
    user=
    case ${AS:-} in
    '') ;;
    root) user=0 ;;
    operator) user=2 ;;
    www) user=80 ;;
    nobody) user=65534 ;;
    *) fail "the row is wrong: nobody is called $AS" ;;
    esac
    jail=$from
    [ "$from" != host ] || jail=
    only=
    [ "${ONLY:-}" != loopback ] || only=--loopback
    "$PROGRAMS/cellblock-agent" trace --socket "$DIR/host.sock" ${jail:+--from "$jail"} ${SOURCE:+--source "$SOURCE"} ${user:+--user "$user"} ${FIB:+--fib "$FIB"} $only "$to" "$port" >"$DIR/attempt" 2>&1 || return 1
    last=$(tail -n 1 "$DIR/attempt")
    heard=${last##* }
    place="jail $who"
    [ "$who" != host ] || place=host
    case $last in
    *"reached $place "*":$inner, which sees "*) return 0 ;;
    esac
    return 1
}

# link_local JAIL LAST: the jail's link-local address as the kernel keeps it.
link_local() { host jls -j "$1" ip6.addr | tr ',' '\n' | grep "::$2\$"; }
