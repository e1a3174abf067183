# title: a firewall for each jail
# example: n15-firewall/firewall.yaml
# needs: vimage module=if_epair module=if_bridge pf
outside $FAR 198.51.100.25
up
change '/defaultIngress: block/d' '/defaultEgress: block/d' 's/action: block/action: pass/' 's/ingress:$/&\
    - {name: everything, action: pass}/'
for to in 10.40.0.10 fd00:40::10; do [ "$to" = 10.40.0.10 ] && reach guest $to 8022 www 192.0.2.5; done
reach guest 10.40.0.11 5432 db 192.0.2.5
reach guest 10.10.0.11 6379 cache 192.0.2.5
reach guest 192.0.2.4 8080 mail 192.0.2.5
reach www fd00:40::11 8022 db fd00:40::10
reach app fd00:10::11 8022 cache fd00:10::10
reach www $FAR 25 lvout 198.18.2.15
reach db $FAR 443 lvout 198.18.2.15
reach mail $FAR 25 lvout 198.18.2.15
change
deny guest 10.40.0.10 8022 www
deny guest 10.40.0.11 5432 db
deny guest 10.10.0.11 6379 cache
deny guest 192.0.2.4 8080 mail
deny www fd00:40::11 8022 db
deny app fd00:10::11 8022 cache
deny www $FAR 25 lvout
deny db $FAR 443 lvout
deny mail $FAR 25 lvout
reach lvout 198.18.2.15 8080 www:80 198.18.2.2
reach lvout 198.18.2.15 25 mail 198.18.2.2
reach www 10.40.0.11 5432 db 10.40.0.10
reach www fd00:40::11 5432 db fd00:40::10
reach app 10.10.0.11 6379 cache 10.10.0.10
reach app fd00:40::11 5432 db fd00:10::10
reach mail 198.51.100.25 25 lvout 198.18.2.15
reach www $FAR 443 lvout 198.18.2.15
# Who has the label is let in, and no longer when it has not.
change 's/name: guest$/&\
  labels: {role: web}/'
reach guest 10.40.0.11 5432 db 192.0.2.5
change
deny guest 10.40.0.11 5432 db
take_away
