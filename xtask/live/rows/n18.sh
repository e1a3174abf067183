# title: jails talking to each other
# example: n18-jails-together/jails-together.yaml
# needs: vimage module=if_epair module=if_bridge pf
up
reach www 10.18.0.11 8080 db 10.18.0.10
reach www fd00:18::11 8080 db fd00:18::10
reach www 10.18.1.1 8022 host 10.18.1.10
reach tenant fd00:18:1::1 8022 host fd00:18:1::12
change 's/isolation: jails/isolation: none/'
reach www 10.18.1.12 8080 tenant 10.18.1.10
reach www fd00:18:1::12 8080 tenant fd00:18:1::10
change
deny www 10.18.1.12 8080 tenant
deny www fd00:18:1::12 8080 tenant
reach www 10.18.0.11 8080 db 10.18.0.10
take_away
