# title: a loopback of each jail's own
# example: n04-own-loopback/own-loopback.yaml
# needs: vimage module=if_epair pf
outside
up
change 's/isolation: jails/isolation: none/'
for to in 127.0.1.4 fd00:127:1::4; do
    reach www $to 8080 db
    ONLY=loopback reach www $to 8081 db
done
SOURCE=198.18.2.43 reach www 127.0.1.4 8080 db 198.18.2.43
SOURCE=fd00:2::43 reach www fd00:127:1::4 8080 db fd00:2::43
reach www 127.0.1.6 8080 mail
reach db 127.0.1.3 8080 www
change
for to in 127.0.1.4 fd00:127:1::4; do
    deny www $to 8080 db
    ONLY=loopback deny www $to 8081 db
done
SOURCE=198.18.2.43 deny www 127.0.1.4 8080 db
SOURCE=fd00:2::43 deny www fd00:127:1::4 8080 db
deny www 127.0.1.6 8080 mail
deny db 127.0.1.3 8080 www
# Each reaches itself, the host all of them, and what is on a network without isolation is reached by all.
ONLY=loopback reach www 127.0.0.1 8081 www 127.0.1.3
ONLY=loopback reach www ::1 8081 www
reach host 127.0.1.3 8080 www
SOURCE=198.18.2.43 reach www 198.18.2.44 8080 db 198.18.2.43
reach lvout 198.18.2.15 25 mail 198.18.2.2
reach lvout 198.18.2.44 8080 db 198.18.2.2
take_away
