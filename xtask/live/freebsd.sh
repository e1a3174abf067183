# A real host: this script runs there, as root.
PATH=/sbin:/bin:/usr/sbin:/usr/bin
export PATH

# Jails die slowly there, and what holds them is nobody's fault.
PATIENCE=120

host() { "$@"; }

facts() {
    say "system=$(uname -s)"
    say "release=$(uname -r)"
    say "uid=$(id -u)"
    say "vimage=$(sysctl -n kern.features.vimage 2>/dev/null || say 0)"
    say "racct=$(sysctl -n kern.racct.enable 2>/dev/null || say 0)"
    modules=
    for module in if_epair if_bridge if_lagg if_vlan netgraph ng_bridge ng_eiface ng_ether pf zfs; do
        if kldstat -q -m "$module" || [ -f "/boot/kernel/$module.ko" ] || [ -f "/boot/modules/$module.ko" ]; then
            modules="$modules $module"
        fi
    done
    say "modules=$modules"
    spare=
    for name in $(ifconfig -l); do
        is_spare "$name" && spare="$spare $name"
    done
    say "nics=$spare"
    for program in /usr/sbin/rtadvd /usr/libexec/bootpd; do [ ! -x "$program" ] || say "installed=$program"; done
    missing=
    for program in /bin/sh /usr/bin/nc /usr/bin/true; do
        [ -x "$BASE/$program" ] || missing="$missing $program"
    done
    say "missing=$missing"
    say "pf=$(pf_state)"
    say "taken=$(foreign)"
    for program in cellblockd cellblock-agent jailctl; do
        [ ! -f "$PROGRAMS/$program" ] || say "program=$program $(cksum <"$PROGRAMS/$program")"
    done
}

# A card of this machine without addresses, routes, switches.
is_spare() {
    case $1 in *[0-9]) ;; *) return 1 ;; esac
    for group in $(ifconfig "$1" | sed -n 's/.*groups: //p'); do
        case $group in bridge | edsc | epair | gif | gre | lagg | lo | pflog | stf | tap | tun | vlan | vxlan | wg) return 1 ;; esac
    done
    ifconfig "$1" | grep -q 'ether ' || return 1
    ! ifconfig "$1" | grep -q -e 'inet ' -e 'inet6 [^f]' || return 1
    ! netstat -rn | awk '{ print $4 }' | grep -qx "$1" || return 1
    ! ifconfig -a | grep -q -e "member: $1 " -e "laggport: $1 " -e "parent interface: $1\$"
}

pf_state() {
    if ! kldstat -q -m pf || ! pfctl -s info 2>/dev/null | grep -q 'Status: Enabled'; then
        if [ -n "$(pfctl -s rules 2>/dev/null; pfctl -s nat 2>/dev/null)" ]; then say loaded; else say off; fi
        return
    fi
    lines=0
    for line in nat-anchor rdr-anchor binat-anchor; do
        pfctl -s nat 2>/dev/null | grep -q "^$line \"cellblock/\\*\"" && lines=$((lines + 1))
    done
    pfctl -s rules 2>/dev/null | grep -q '^anchor "cellblock/\*"' && lines=$((lines + 1))
    if [ $lines -eq 4 ]; then say ours; else say foreign; fi
}

# What would be in the way: an agent, or something of one; not what a row left that was killed, which the next one takes away.
foreign() {
    if [ -f "$DIR/undo" ]; then
        return
    elif pgrep -x cellblock-agent >/dev/null; then
        say 'a running cellblock-agent'
    elif ifconfig -a | grep -q 'description: cellblock:'; then
        say 'interfaces of another agent'
    elif anchors 2>/dev/null | grep -q .; then
        say 'pf anchors of another agent'
    fi
}

begin_host() {
    mkdir -p "$DIR"
    if [ -f "$DIR/undo" ] || [ -f "$DIR/undo.jails" ]; then
        say '# what a row before this one left behind is taken away first'
        sweep
        undo_all
    fi
    rm -rf "$DIR/state" "$DIR/store.redb" "$DIR"/*.pid "$DIR"/*.log
    : >"$DIR/proven"
    : >"$DIR/undo"
    for module in $MODULES; do kldload -n "$module" || needs "the module $module"; done
    as_found_now >"$DIR/found"
    case " $NEEDS " in *" pf "*) prepare_pf ;; esac
}

prepare_pf() {
    case $(pf_state) in
    ours) return ;;
    off) ;;
    *) needs "the four lines in pf.conf (docs/networking/loopback-nat.md): this host's pf has rules of its own without them" ;;
    esac
    undo 'pfctl -q -d; pfctl -q -F rules; pfctl -q -F nat; pfctl -q -F states'
    say '# pf with the four lines and `pass`'
    printf '%s\n' 'nat-anchor "cellblock/*"' 'rdr-anchor "cellblock/*"' 'binat-anchor "cellblock/*"' 'anchor "cellblock/*"' 'pass' >"$DIR/pf.conf"
    must pfctl -q -f "$DIR/pf.conf"
    must pfctl -q -e
}

# A jail is dying as long as a closed connection of it waits for what may still come: a minute, unless this is made shorter.
short_waits() {
    msl=$(sysctl -n net.inet.tcp.msl)
    if [ "$msl" -gt 1000 ]; then
        undo "sysctl -q net.inet.tcp.msl=$msl >/dev/null"
        sysctl -q net.inet.tcp.msl=1000 >/dev/null
    fi
    for jail in $(jls name); do sysctl -q -j "$jail" net.inet.tcp.msl=1000 >/dev/null 2>&1; done
}

end_host() { :; }

# What is compared when even the row's own world is gone.
as_found_now() {
    ifconfig -l | tr ' ' '\n' | sort
    jls -d name
    netstat -rn | awk '{ print $1, $2, $3, $4 }'
    mount -p
    pf_state
    anchors
}

as_found() {
    left=70
    while :; do
        as_found_now >"$DIR/left"
        cmp -s "$DIR/found" "$DIR/left" && return 0
        [ $left -gt 0 ] || break
        left=$((left - 1))
        sleep 1
    done
    diff "$DIR/found" "$DIR/left" | tr '\n' ' '
    return 1
}

root() {
    [ ! -d "$ROOTS/$1" ] || return
    mkdir -p "$ROOTS/$1" || fail "no folder $ROOTS/$1"
    undo "rmdir $ROOTS/$1"
    undo "! mount -p | awk '{ print \$2 }' | grep -qx $ROOTS/$1 || umount $ROOTS/$1"
    undo "! mount -p | awk '{ print \$2 }' | grep -qx $ROOTS/$1/dev || umount $ROOTS/$1/dev"
    must mount_nullfs -o ro "$BASE" "$ROOTS/$1"
}

# writable JAIL FOLDER…: empty folders of the jail's own in its root.
writable() {
    jail=$1
    shift
    root "$jail"
    for folder in "$@"; do
        undo "! mount -p | awk '{ print \$2 }' | grep -qx $ROOTS/$jail/$folder || umount $ROOTS/$jail/$folder"
        must mount -t tmpfs -o size=4m tmpfs "$ROOTS/$jail/$folder"
    done
}

# ruleset NUMBER: of devfs, as the examples' READMEs have it: a jail's, with bpf.
ruleset() {
    if host devfs rule showsets | grep -qx "$1"; then return; fi
    host devfs rule showsets | grep -qx 5 || needs 'devfs ruleset 5 (service devfs start)'
    undo "devfs rule -s $1 delset"
    must host devfs rule -s "$1" add include 5
    must host devfs rule -s "$1" add path 'bpf*' unhide
}

# advertise JAIL END: JAIL is a router there, and tells the prefixes of its addresses.
advertise() {
    [ "$BASE" = / ] || needs 'a base system at /, in which routers and servers can write'
    must host sysctl -j "$1" net.inet6.ip6.forwarding=1
    must host jexec "$1" rtadvd -c /dev/null -p "$DIR/rtadvd.pid" -C "$DIR/rtadvd.sock" "$2"
}

# lend JAIL SERVER ADDRESS MAC: JAIL, which has the address SERVER, gives ADDRESS to who asks by MAC. dhclient(8) takes an answer of BOOTP, and bootpd(8)
# is the base system's only server.
lend() {
    [ "$BASE" = / ] || needs 'a base system at /, in which routers and servers can write'
    say "guest:ht=ethernet:ha=$4:ip=$3:sm=255.255.255.0:gw=$2:" >"$DIR/bootptab"
    must host jexec "$1" /usr/libexec/bootpd -s -h "$2" "$DIR/bootptab"
}

# Where a jail.conf calls the agent.
install_agent() {
    installed=/usr/local/sbin/cellblock-agent
    [ ! -e $installed ] || return 0
    mkdir -p /usr/local/sbin
    undo "rm $installed"
    must ln -s "$PROGRAMS/cellblock-agent" $installed
}

# tarball FILE: a base system in small, with all that is special in a whole one: hard links, file flags, links, empty mount points.
tarball() {
    made=$DIR/base
    undo "! [ -d $made ] || chflags -R 0 $made; rm -rf $made"
    for folder in bin dev etc lib libexec media mnt net proc root sbin tmp usr/bin usr/lib usr/libexec usr/local usr/sbin usr/share var/empty var/run var/tmp; do
        mkdir -p "$made/$folder" || return
    done
    for folder in bin etc lib libexec sbin; do (cd "$BASE/$folder" && tar -cf - .) | tar -xpf - -C "$made/$folder" || return; done
    for file in usr/bin/nc usr/bin/true usr/bin/id usr/bin/env; do [ ! -f "$BASE/$file" ] || cp -p "$BASE/$file" "$made/$file" || return; done
    ln "$made/bin/sh" "$made/bin/-sh"
    ln -s usr/src/sys "$made/sys"
    chflags schg "$made/lib/libc.so.7" "$made/libexec/ld-elf.so.1" "$made/sbin/init"
    chflags schg "$made/var/empty"
    chmod 1777 "$made/tmp" "$made/var/tmp"
    tar -cf "$1" -C "$made" .
}

files() { cksum /etc/rc.conf /etc/pf.conf /etc/jail.conf /etc/devfs.rules /etc/sysctl.conf 2>/dev/null; }

start_controller() {
    rm -f "$DIR/store.redb"
    "$PROGRAMS/cellblockd" --listen "127.0.0.1:$PORT" --store "embedded:$DIR/store.redb" >"$DIR/controller.log" 2>&1 </dev/null &
    say $! >"$DIR/controller.pid"
    undo "stop_controller"
}

start_agent() {
    mkdir -p "$DIR/state"
    "$PROGRAMS/cellblock-agent" --controller "http://127.0.0.1:$PORT" --host-name $HOST --state-dir "$DIR/state" --resync-seconds 5 >"$DIR/agent.log" 2>&1 </dev/null &
    say $! >"$DIR/agent.pid"
    undo "stop_agent"
}

# stop NAME: the process that was started under that name, if it is still that program.
stop() {
    [ -f "$DIR/$1.pid" ] || return 0
    pid=$(cat "$DIR/$1.pid")
    rm -f "$DIR/$1.pid"
    case $(ps -o comm= -p "$pid" 2>/dev/null) in
    cellblockd | cellblock-agent) ;;
    *) return 0 ;;
    esac
    kill "$pid" 2>/dev/null
    for try in 1 2 3 4 5 6 7 8 9 10; do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 1
    done
    kill -9 "$pid" 2>/dev/null
    return 0
}
stop_controller() { stop controller; }
stop_agent() { stop agent; }

# What is left of the example itself when it failed. There was nothing of another agent when the row began, so all of it is ours.
sweep() {
    for jail in $(jls -d path name 2>/dev/null | awk -v roots="$ROOTS/" 'index($1, roots) == 1 { print $2 }'); do jail -r "$jail" 2>/dev/null; done
    for name in $(ifconfig -l); do
        if ifconfig "$name" 2>/dev/null | grep -q 'description: cellblock:'; then ifconfig "$name" destroy 2>/dev/null; fi
    done
    if kldstat -q -m netgraph; then
        for node in $(ngctl list 2>/dev/null | awk '$1 == "Name:" && $2 ~ /^cb/ { print $2 }'); do ngctl shutdown "$node:" 2>/dev/null; done
    fi
    for anchor in $(pfctl -a cellblock -sA 2>/dev/null); do pfctl -q -a "$anchor" -F all 2>/dev/null; done
    return 0
}

# at WHO COMMAND…: it runs there.
at() {
    place=$1
    shift
    if [ "$place" = host ]; then "$@"; else jexec "$place" "$@"; fi
}

# Listens at $who, asks from $from: 0 if the answer is the listener's. What happened is in $DIR/attempt.
attempt() {
    family=-4
    address=
    [ "${ONLY:-}" != loopback ] || address=127.0.0.1
    case $to in
    *:*)
        family=-6
        [ -z "$address" ] || address=::1
        ;;
    esac
    : >"$DIR/heard"
    listener=
    [ -n "${ABSENT:-}" ] || listen
    : >"$DIR/answer"
    run="nc $family -n -N -w 3 ${SOURCE:+-s $SOURCE} $to $port"
    [ "$from" = host ] || run="jexec ${AS:+-U $AS} $from $run"
    [ -z "${FIB:-}" ] || run="setfib $FIB $run"
    $run </dev/null >"$DIR/answer" 2>"$DIR/refusal"
    answered=$?
    if [ -n "$listener" ]; then
        stop_listening
        wait "$listener" 2>/dev/null
    fi
    {
        say "\$ $run"
        sed 's/^/> /' "$DIR/answer"
        sed 's/^/! /' "$DIR/refusal"
        say "= $answered"
        [ -z "$listener" ] || say "# $who listened on port $inner, and heard: $(cat "$DIR/heard")"
    } >"$DIR/attempt"
    heard=$(sed -n 's/^Connection from \([^ ]*\) .* received!$/\1/p' "$DIR/heard" | sed 's/%.*//')
    grep -qx "hello from $who" "$DIR/answer"
}

# Somebody listens at $who, as attempt has it.
listen() {
    # shellcheck disable=SC2086
    say "hello from $who" | at "$who" nc $family -n -N -l -v $address "$inner" >/dev/null 2>"$DIR/heard" &
    listener=$!
    listening=no
    left_listen=40
    while [ $left_listen -gt 0 ]; do
        left_listen=$((left_listen - 1))
        if is_listening; then
            listening=yes
            break
        fi
        sleep 0.5
    done
    if [ $listening = no ]; then
        cat "$DIR/heard"
        kill $listener 2>/dev/null
        fail "nobody could listen on port $inner at $who"
    fi
}

# The processes that listen there. sockstat(1) would need a /dev in the jail's root.
listeners() {
    jail=$who
    [ "$who" != host ] || jail=none
    for pid in $(pgrep -x -j "$jail" nc); do
        procstat -f "$pid" 2>/dev/null | awk -v port="[:.]$inner\$" -v pid="$pid" '/ TCP / && $(NF - 1) ~ port { print pid }'
    done
}

is_listening() { [ -n "$(listeners)" ]; }

# nc ends by itself after a connection; one that nobody asked has to be ended.
stop_listening() {
    for pid in $(listeners); do kill "$pid" 2>/dev/null; done
}

# link_local JAIL LAST: the jail's link-local address as nc takes it.
link_local() {
    name=$(ifconfig -a | awk -v last="$2%" 'index($0, last) { split($2, part, "%"); print part[2] }' | head -n 1)
    say "fe80::$2%$name"
}
