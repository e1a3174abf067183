# title: public addresses of jails, one to one
# example: n16-one-to-one-nat/one-to-one-nat.yaml
# needs: vimage module=if_epair module=if_bridge pf
outside
for last in 16 17 18; do must host ifconfig lv0 inet 198.18.2.$last/32 alias; done
add6 lv0 2001:db8:2::15/64
for last in 16 17 18; do add6 lv0 2001:db8:2::$last/128; done
outside6 lvout lv0 2001:db8:2::99/64
up
reach lvout 198.18.2.16 8022 www 198.18.2.2
reach lvout 2001:db8:2::16 8022 www 2001:db8:2::99
reach lvout 198.18.2.16 81 www:8080 198.18.2.2
reach lvout 198.18.2.17 587 mail 198.18.2.2
reach lvout 198.18.2.17 8022 host 198.18.2.2
reach lvout 198.18.2.18 8022 app 198.18.2.2
reach www 198.18.2.2 443 lvout 198.18.2.16
reach mail 198.18.2.2 443 lvout 198.18.2.17
reach app 198.18.2.2 443 lvout 198.18.2.18
reach db 198.18.2.2 443 lvout 198.18.2.15
reach www 2001:db8:2::99 443 lvout 2001:db8:2::16
before=$(jid www)
# Without the address www is as its neighbour.
change '/name: www/,/^---/{/publicAddresses:/d;/name: web, uplink: external, address: web}/d;/name: web6/d;}'
deny lvout 198.18.2.16 8022 www
deny lvout 2001:db8:2::16 8022 www
reach lvout 198.18.2.16 8022 host 198.18.2.2
reach www 198.18.2.2 443 lvout 198.18.2.15
change
reach lvout 198.18.2.16 8022 www 198.18.2.2
[ "$before" = "$(jid www)" ] || fail 'www was started again'
take_away
