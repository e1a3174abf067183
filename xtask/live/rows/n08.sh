# title: VNET, epair and bridge
# example: n08-bridge/bridge.yaml
# needs: vimage module=if_epair module=if_bridge pf
outside $FAR
wire lv1 lvlan
must host ifconfig -j lvlan lv1 inet 198.51.100.1/24
up
reach www $FAR 443 lvout 198.18.2.15
reach lvout 198.18.2.15 8080 www:80 198.18.2.2
reach www 172.16.1.1 8022 host 172.16.1.10
reach lvlan 198.51.100.20 8081 machine 198.51.100.1
reach machine 198.51.100.1 443 lvlan 198.51.100.20
change 's/bridge: {privateMembers: true}/bridge: {}/'
reach www 172.16.1.11 8081 db 172.16.1.10
change
deny www 172.16.1.11 8081 db
reach www $FAR 443 lvout 198.18.2.15
take_away
