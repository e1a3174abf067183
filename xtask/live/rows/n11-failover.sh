# title: an address of the host on a failover lagg under a netgraph switch
# example: n11-lagg-netgraph/netgraph.yaml
# needs: vimage module=if_epair module=if_lagg module=netgraph module=ng_ether module=ng_bridge module=ng_eiface
wire lv1 lvsw
wire lv2 lvsw
# The other end: both cables in one switch. A lagg stands for it, which takes what comes by either.
lagg=$(host ifconfig -j lvsw lagg create) || fail 'no lagg in lvsw'
must host ifconfig -j lvsw "$lagg" laggproto failover laggport lv1 laggport lv2 up
must host ifconfig -j lvsw "$lagg" inet 198.51.100.1/24
adapt() { sed -e 's/protocol: lacp .*/protocol: failover/' -e '/hash: l3,l4/d'; }
up
ours=$(host ifconfig -g lagg | head -n 1)
reach www 198.51.100.1 443 lvsw 198.51.100.20
lacks JailsReached ctl describe host $HOST || fail 'something is told without an address of the host'
# What comes once the switch stands is left there.
must host ifconfig "$ours" inet 198.51.100.7/24
holds 'host and jail reach each other' shows 'JailsReached  *True' ctl describe host $HOST
must host ping -c 1 -t 5 -S 198.51.100.7 198.51.100.20
must host ping -c 1 -t 5 -S 198.51.100.7 198.51.100.1
reach lvsw 198.51.100.20 8080 www 198.51.100.1
# A jail whose root has it answer nobody. What the host remembers of it goes first.
must host ifconfig -j www lan0 -arp
must host arp -d 198.51.100.20
holds 'that they do not is told' shows JailsNotReached ctl describe host $HOST
must host ifconfig -j www lan0 arp
holds 'host and jail reach each other again' shows 'JailsReached  *True' ctl describe host $HOST
must host ifconfig "$ours" inet 198.51.100.7 -alias
take_away
