# title: a netgraph switch at a lagg
# example: n11-lagg-netgraph/netgraph.yaml
# needs: vimage module=if_epair module=if_lagg module=netgraph module=ng_ether module=ng_bridge module=ng_eiface
wire lv1 lvsw
wire lv2 lvsw
# The partner that speaks LACP.
lagg=$(host ifconfig -j lvsw lagg create) || fail 'no lagg in lvsw'
must host ifconfig -j lvsw "$lagg" laggproto lacp laggport lv1 laggport lv2 up
must host ifconfig -j lvsw "$lagg" inet 198.51.100.1/24
up
ours=$(host ifconfig -g lagg | head -n 1)
holds 'the two have agreed' shows 'laggproto lacp' host ifconfig "$ours"
for try in 1 2 3 4 5 6; do shows 'COLLECTING' host ifconfig "$ours" >/dev/null && break || sleep 2; done
reach www 198.51.100.1 443 lvsw 198.51.100.20
reach lvsw 198.51.100.20 8080 www 198.51.100.1
# On another switch www is not on the wire, although it has the very address there.
change '$a\
---\
apiVersion: cellblock.dev/v1alpha1\
kind: Network\
metadata:\
  name: apart\
spec:\
  netgraph: {}\
  subnets:\
  - {cidr: 10.9.0.0/24}' '/name: www/,/^---/s/network: wire, interface: lan0, addresses: .*/network: apart, interface: lan0, addresses: [10.9.0.20]}/'
must host ifconfig -j www lan0 inet 198.51.100.20/24 alias
deny www 198.51.100.1 443 lvsw
deny lvsw 198.51.100.20 8080 www
change
reach lvsw 198.51.100.20 8080 www 198.51.100.1
take_away
