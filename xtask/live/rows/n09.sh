# title: VNET, netgraph with an uplink
# example: n09-netgraph-uplink/netgraph.yaml
# needs: vimage module=if_epair module=netgraph module=ng_ether module=ng_bridge module=ng_eiface
outside
wire lv1 lvlan
must host ifconfig -j lvlan lv1 inet 198.51.100.1/24
outside6 lvlan lv1 2001:db8:51::1/64
up
reach www 198.51.100.1 443 lvlan 198.51.100.10
reach lvlan 198.51.100.10 8080 www 198.51.100.1
reach lvlan 2001:db8:51::10 8080 www 2001:db8:51::1
reach www 198.51.100.11 8080 db 198.51.100.10
reach www 2001:db8:51::11 8080 db 2001:db8:51::10
reach lvlan 198.51.100.11 8080 db 198.51.100.1
# On another switch db is not on the wire, although it has the very address there. (What a card that is not promiscuous keeps out, no epair does.)
before=$(jid www)
change '$a\
---\
apiVersion: cellblock.dev/v1alpha1\
kind: Network\
metadata:\
  name: apart\
spec:\
  netgraph: {}\
  subnets:\
  - {cidr: 10.9.0.0/24}' '/name: db/,/^---/s/network: segment, interface: phys0, addresses: .*/network: apart, interface: phys0, addresses: [10.9.0.11]}/'
must host ifconfig -j db phys0 inet 198.51.100.11/24 alias
deny lvlan 198.51.100.11 8080 db
deny www 198.51.100.11 8080 db
[ "$before" = "$(jid www)" ] || fail 'www was started again'
reach lvlan 198.51.100.10 8080 www 198.51.100.1
change
reach lvlan 198.51.100.11 8080 db 198.51.100.1
refused 'never sees their traffic' '$a\
  publish: [{name: web, ports: [8080], uplink: external}]'
take_away
