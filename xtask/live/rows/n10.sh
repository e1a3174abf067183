# title: VNET, netgraph without an uplink
# example: n10-netgraph-internal/netgraph.yaml
# needs: vimage module=if_epair module=netgraph module=ng_ether module=ng_bridge module=ng_eiface pf
outside $FAR
up
reach www $FAR 443 lvout 198.18.2.15
reach lvout 198.18.2.15 8080 www:80 198.18.2.2
reach host 10.60.0.10 8081 www 10.60.0.1
reach host fd00:60::10 8081 www fd00:60::1
reach www 10.60.0.1 8022 host 10.60.0.10
reach www 10.61.0.11 8081 db 10.61.0.10
reach www fd00:61::11 8081 db fd00:61::10
# With a second leg db gets out, and without it nowhere.
change '/name: db/,$s|  - {network: alone.*|&\
  - {network: graph, interface: virt0, addresses: [10.60.0.11, "fd00:60::11"]}|'
reach db 10.60.0.1 8022 host 10.60.0.11
reach db $FAR 443 lvout 198.18.2.15
reach db fd00:60::10 8081 www fd00:60::11
change
deny db 10.60.0.1 8022 host
deny db $FAR 443 lvout
deny db fd00:60::10 8081 www
take_away
