# title: shared IP on a NIC
# example: n01-shared-ip/shared-ip.yaml
# needs: vimage module=if_epair
outside
up
holds 'the order is kept' shows '^198.18.2.41,198.18.2.40$' host jls -j www ip4.addr
for address in 198.18.2.40 198.18.2.41; do reach lvout $address 8080 www 198.18.2.2; done
reach host fd00:2::40 8080 www
reach www fd00:2::40 8080 www
before=$(jid db)
change 's/10.0.2.41, 10.0.2.40/198.18.2.50/;s/198.18.2.41, 198.18.2.40/198.18.2.50/'
reach lvout 198.18.2.50 8080 www 198.18.2.2
deny lvout 198.18.2.41 8080 www
holds 'the address is off the NIC' lacks '198.18.2.41 ' host ifconfig lv0
[ "$before" = "$(jid db)" ] || fail 'db was started again'
change
reach lvout 198.18.2.41 8080 www 198.18.2.2
take_away
