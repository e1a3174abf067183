# title: routing tables
# example: n12-routing-tables/routing-tables.yaml
# needs: vimage module=if_epair
outside $FAR
add6 lv0 fd00:12::1/64
outside6 lvout lv0 fd00:12::2/64
wire lv1 lvline
must host ifconfig lv1 inet 10.12.0.9/24
must host ifconfig -j lvline lv1 inet 10.12.0.1/24
must host ifconfig -j lvline lo0 inet $FAR/32 alias
up
reach lvout 198.18.2.40 8080 web 198.18.2.2
reach lvout fd00:12::40 8080 web fd00:12::2
FIB=1 reach web 198.18.2.2 443 lvout 198.18.2.40
FIB=1 reach web 198.18.2.40 8080 web 198.18.2.40
FIB=2 reach other $FAR 443 lvline 10.12.0.10
# The same process with the first table goes the host's way: a table steers, and does not contain.
FIB=0 reach web $FAR 443 lvout 198.18.2.40
before=$(jid web)
change 's/allocate: \[198.18.2.40-198.18.2.59\]}/allocate: [198.18.2.40-198.18.2.59], gateway: {address: 198.18.2.2}}/'
FIB=1 reach web $FAR 443 lvout 198.18.2.40
change
FIB=1 deny web $FAR 443 lvout
FIB=1 reach web 198.18.2.2 443 lvout 198.18.2.40
[ "$before" = "$(jid web)" ] || fail 'web was started again'
take_away
