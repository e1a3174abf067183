# title: a cloned loopback behind NAT
# example: n03-loopback-nat/loopback-nat.yaml
# needs: vimage module=if_epair pf
outside $FAR
up
for jail in tom dick harry; do reach $jail $FAR 443 lvout 198.18.2.15; done
for port in 21 80 443 9005; do reach lvout 198.18.2.15 $port dick 198.18.2.2; done
reach lvout 198.18.2.15 81 harry:80 198.18.2.2
change '/name: tom/,/^---/s|networks:|publish: [{name: db, ports: [3306], uplink: external, address: main}]\
  networks:|'
reach lvout 198.18.2.15 3306 tom 198.18.2.2
change
deny lvout 198.18.2.15 3306 tom
reach lvout 198.18.2.15 3306 host 198.18.2.2
reach lvout 198.18.2.15 80 dick 198.18.2.2
take_away
