# title: lagg uplinks, and VLANs on them
# example: n11-lagg/lagg.yaml
# needs: vimage module=if_epair module=if_bridge module=if_lagg module=if_vlan
outside
wire lv1 lvsw
wire lv2 lvsw
wire lv3 lvcam
# The other end: both cables in one switch, with a machine on each VLAN. A lagg stands for it, which takes what comes by either.
lagg=$(host ifconfig -j lvsw lagg create) || fail 'no lagg in lvsw'
must host ifconfig -j lvsw "$lagg" laggproto failover laggport lv1 laggport lv2 up
must host ifconfig -j lvsw "$lagg" inet 198.51.100.99/24
for tag in 30 40; do
    vlan=$(host ifconfig -j lvsw vlan create) || fail 'no vlan in lvsw'
    must host ifconfig -j lvsw "$vlan" vlan $tag vlandev "$lagg"
    must host ifconfig -j lvsw "$vlan" inet 10.$tag.0.99/24 up
done
vlan=$(host ifconfig -j lvcam vlan create) || fail 'no vlan in lvcam'
must host ifconfig -j lvcam "$vlan" vlan 50 vlandev lv3
must host ifconfig -j lvcam "$vlan" inet 10.50.0.99/24 up
up
reach www 198.51.100.99 443 lvsw 198.51.100.20
reach files 10.30.0.99 443 lvsw 10.30.0.20
reach bench 10.40.0.99 443 lvsw 10.40.0.20
reach recorder 10.50.0.99 443 lvcam 10.50.0.20
reach lvsw 10.30.0.20 8080 files 10.30.0.99
# Under another tag nobody of VLAN 30 is there any more.
change 's/{id: 30, uplink: wan}/{id: 31, uplink: wan}/'
deny files 10.30.0.99 443 lvsw
deny lvsw 10.30.0.20 8080 files
change
reach files 10.30.0.99 443 lvsw 10.30.0.20
# The cable in use is pulled: its other end goes.
lagg_of() { host ifconfig -g lagg | head -n 1; }
holds 'lv1 carries' shows 'laggport: lv1 flags=5<MASTER,ACTIVE>' host ifconfig "$(lagg_of)"
take_away
