# title: pf inside VNET jails
# example: n19-own-pf/own-pf.yaml
# needs: vimage nics=1 module=if_epair module=if_bridge module=netgraph module=ng_ether module=ng_bridge module=ng_eiface pf
outside $FAR
wire lv1 lvlan
must host ifconfig -j lvlan lv1 inet 198.51.100.1/24
outside6 lvlan lv1 2001:db8:51::1/64
set -- $SPARE
NIC2=$1
shows '^5$' host devfs rule showsets >/dev/null || needs 'devfs ruleset 5 (service devfs start)'
install_agent
up
change '/defaultIngress: block/d' '/defaultEgress: block/d' 's/action: block/action: pass/'
AS=nobody reach www 198.51.100.1 25 lvlan 198.51.100.10
reach lvlan 198.51.100.10 8022 www 198.51.100.1
reach lvlan 2001:db8:51::10 8022 www 2001:db8:51::1
reach guest 10.10.0.11 8022 db 10.10.0.20
reach guest fd00:10::11 8022 db fd00:10::20
reach db 10.10.0.20 8080 guest 10.10.0.11
AS=nobody reach kiosk $FAR 443 lvout 198.18.2.15
AS=www reach kiosk $FAR 25 lvout 198.18.2.15
before=$(jid www)
change
AS=nobody deny www 198.51.100.1 25 lvlan
deny lvlan 198.51.100.10 8022 www
deny lvlan 2001:db8:51::10 8022 www
deny guest 10.10.0.11 8022 db
deny guest fd00:10::11 8022 db
deny db 10.10.0.20 8080 guest
AS=nobody deny kiosk $FAR 443 lvout
AS=www deny kiosk $FAR 25 lvout
AS=operator reach www 198.51.100.1 25 lvlan 198.51.100.10
reach lvlan 198.51.100.10 80 www 198.51.100.1
reach guest 10.10.0.11 5432 db 10.10.0.20
reach lvout 198.18.2.15 5432 db 198.18.2.2
AS=root reach kiosk $FAR 25 lvout 198.18.2.15
for port in 80 443; do AS=www reach kiosk $FAR $port lvout 198.18.2.15; done
[ "$before" = "$(jid www)" ] || fail 'www was started again'
take_away
is_interface $NIC2 || fail "$NIC2 did not come back"
