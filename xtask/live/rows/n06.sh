# title: VNET with a NIC of its own
# example: n06-passthrough/passthrough.yaml
# needs: vimage module=if_epair nics=2
outside
set -- $SPARE
NIC2=$1 NIC3=$2
# Are the two cards on one wire? Then the jails that have them reach each other.
undo_jail "remove_jail lvwire"
must host jail -c name=lvwire persist vnet path="$BASE"
must host ifconfig $NIC3 vnet lvwire
undo_jail "host ifconfig $NIC3 -vnet lvwire 2>/dev/null"
must host ifconfig -j lvwire $NIC3 inet 198.19.0.2/30 up
must host ifconfig $NIC2 inet 198.19.0.1/30 up
sleep 2
wired=no
if host ping -c 1 -t 3 198.19.0.2; then wired=yes; fi
must host ifconfig $NIC2 inet 198.19.0.1 -alias
must host ifconfig $NIC2 down
must host ifconfig -j lvwire $NIC3 inet 198.19.0.2 -alias
must host ifconfig -j lvwire $NIC3 down
must host ifconfig $NIC3 -vnet lvwire
remove_jail lvwire
wait_for 100 'the end of the jail lvwire' is_gone lvwire
root third
up
[ $wired = yes ] || say "# $NIC2 and $NIC3 are not on one wire: connections by them are not checked"
for jail in router probe; do holds "$jail has its card" shows 'inet 198.51.100' host ifconfig -j $jail wire0; done
for nic in $NIC2 $NIC3; do is_interface $nic && fail "the host still has $nic"; done
if [ $wired = yes ]; then
    reach router "$(host ifconfig -j probe wire0 inet | awk '$1 == "inet" { print $2 }')" 8080 probe 198.51.100.10
fi
# A third jail has a card as long as probe has none; with both of them in use probe waits.
cat >"$DIR/third.yaml" <<END
apiVersion: cellblock.dev/v1alpha1
kind: Jail
metadata:
  name: third
spec:
  host: $HOST
  root: {path: $ROOTS/third}
  networks:
  - {network: own-nics, interface: wire0}
END
must ctl delete jail probe --timeout 120s
must ctl apply -f "$DIR/third.yaml"
must ctl wait jail third --timeout 120s
holds 'third has a card' shows 'inet 198.51.100' host ifconfig -j third wire0
must ctl apply -f "$DIR/original.yaml"
sleep 5
holds 'probe waits' shows NicsExhausted ctl get jail probe -o wide
must ctl delete jail third --timeout 120s
must ctl wait jail probe --timeout 120s
holds 'probe has a card' shows 'inet 198.51.100' host ifconfig -j probe wire0
take_away
for nic in $NIC2 $NIC3; do is_interface $nic || fail "$nic did not come back"; done
