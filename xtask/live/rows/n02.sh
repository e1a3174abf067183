# title: shared IP, an internal address first
# example: n02-internal-first/internal-first.yaml
# needs: vimage module=if_epair
wire lv0 lvout
must host ifconfig lv0 inet 203.0.113.1/24
must host ifconfig -j lvout lv0 inet 203.0.113.7/24
up
for address in 203.0.113.10 203.0.113.11; do reach lvout $address 8080 www 203.0.113.7; done
reach host 2001:db8:113::10 8080 www
# What listens on 127.0.0.1 in the jail is open to the world as soon as a public address is the first.
change '/- network: jail-loopback/d'
ONLY=loopback reach lvout 203.0.113.10 8081 www 203.0.113.7
change
ONLY=loopback deny lvout 203.0.113.10 8081 www
reach lvout 203.0.113.10 8080 www 203.0.113.7
take_away
