# title: VNET, point to point, routed
# example: n07-routed/routed.yaml
# needs: vimage module=if_epair pf
outside $FAR
must host ifconfig -j lvout lo0 inet6 ::1/128
must host route -j lvout -n add -net 10.41.0.0/24 198.18.2.15
up
reach www $FAR 443 lvout 198.18.2.15
reach lvout 198.18.2.15 8080 www:80 198.18.2.2
reach www 10.40.0.1 8022 host 10.40.0.10
reach host 10.40.0.10 8081 www 10.40.0.1
reach plain 10.40.0.10 8081 www 10.41.0.3
reach plain fd00:40::10 8081 www fd00:41::3
reach plain $FAR 443 lvout 10.41.0.3
reach lvout 10.41.0.3 8081 plain 198.18.2.2
change 's/isolation: jails/isolation: none/'
reach www 10.40.0.11 8081 db 10.40.0.10
reach www fd00:40::11 8081 db fd00:40::10
change
deny www 10.40.0.11 8081 db
deny www fd00:40::11 8081 db
before=$(jid db)
change 's/10.40.0.10, "fd00:40::10"/10.40.0.77, "fd00:40::77"/'
reach host 10.40.0.77 8081 www 10.40.0.1
[ "$before" = "$(jid db)" ] || fail 'db was started again'
take_away
