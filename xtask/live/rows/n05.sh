# title: an IPv6 loopback of each jail's own
# example: n05-ipv6-loopback/ipv6-loopback.yaml
# needs: vimage module=if_epair pf
outside
up
change 's/isolation: jails/isolation: none/'
reach www "$(link_local db cb:4)" 8080 db fe80::cb:3
reach db "$(link_local www cb:3)" 8080 www fe80::cb:4
reach www 127.0.1.4 8080 db
change
deny www "$(link_local db cb:4)" 8080 db
deny db "$(link_local www cb:3)" 8080 www
deny www 127.0.1.4 8080 db
ONLY=loopback reach www ::1 8081 www fe80::cb:3
ONLY=loopback reach db ::1 8081 db fe80::cb:4
reach host "$(link_local www cb:3)" 8080 www
take_away
