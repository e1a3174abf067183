# title: addresses from the wire
# example: n08-dynamic-addresses/dynamic-addresses.yaml
# needs: vimage module=if_epair module=if_bridge program=/usr/sbin/rtadvd program=/usr/libexec/bootpd
outside
wire lv1 lvlan
must host ifconfig -j lvlan lv1 inet 198.51.100.1/24
outside6 lvlan lv1 2001:db8:51::1/64
ruleset 40
advertise lvlan lv1
lend lvlan 198.51.100.1 198.51.100.100 020000005110
# dhclient(8) ends where it can keep no lease.
writable guest var/db var/run
up
own() { host ifconfig -j www lan0 inet6 | awk '$1 == "inet6" && $0 ~ /autoconf/ { print $2 }'; }
holds 'www has an address by advertisement' shows '2001:db8:51:' own
holds 'guest has the address of the server' shows 'inet 198.51.100.100 ' host ifconfig -j guest lan0 inet
holds 'the controller knows it' shows '198.51.100.100' ctl get jail guest -o wide
six=$(own)
reach lvlan "$six" 8080 www 2001:db8:51::1
reach www 2001:db8:51::1 443 lvlan "$six"
reach guest 198.51.100.1 443 lvlan 198.51.100.100
reach lvlan 198.51.100.10 8080 www 198.51.100.1
reach guest 198.51.100.10 8080 www 198.51.100.100
# What the jail gives itself stays, and is told.
must host jexec router ifconfig lan0 inet 198.51.100.200/24
reach guest 198.51.100.200 8080 router 198.51.100.100
holds 'the controller knows that too' shows '198.51.100.200' ctl get jail router -o wide
change 's/bridge: {uplink: wire}/bridge: {uplink: wire, privateMembers: true}/'
deny guest 198.51.100.10 8080 www
deny guest 198.51.100.200 8080 router
reach guest 198.51.100.1 443 lvlan 198.51.100.100
take_away
