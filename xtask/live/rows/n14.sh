# title: egress rules by user
# example: n14-users/users.yaml
# needs: vimage module=if_epair pf
outside $FAR
up
change 's/action: block, protocol: tcp/action: pass, protocol: tcp/' 's/defaultEgress: block/defaultEgress: pass/'
AS=nobody reach shell $FAR 25 lvout 198.18.2.15
AS=nobody reach kiosk $FAR 443 lvout 198.18.2.15
AS=www reach kiosk $FAR 25 lvout 198.18.2.15
AS=nobody reach kiosk 192.0.2.3 8080 shell 192.0.2.4
change
AS=nobody deny shell $FAR 25 lvout
AS=nobody deny kiosk $FAR 443 lvout
AS=www deny kiosk $FAR 25 lvout
AS=nobody deny kiosk 192.0.2.3 8080 shell
AS=operator reach shell $FAR 25 lvout 198.18.2.15
AS=nobody reach shell $FAR 587 lvout 198.18.2.15
AS=root reach kiosk $FAR 25 lvout 198.18.2.15
for port in 80 443; do AS=www reach kiosk $FAR $port lvout 198.18.2.15; done
take_away
