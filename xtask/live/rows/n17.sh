# title: IPv6 duplicate address detection
# example: n17-duplicate-addresses/duplicate-addresses.yaml
# needs: vimage module=if_epair
wire lv1 lvlan
add6 lv1 fd00:17::1/64
outside6 lvlan lv1 fd00:17::2/64
up
holds 'the address is its own' lacks 'fd00:17::10.*tentative' host ifconfig lv1 inet6
reach lvlan fd00:17::10 8080 www fd00:17::2
reach host fd00:17::10 8080 www
# Somebody else has the address now: the jail must not run on it.
change 's/, "fd00:17::10"//'
must host ifconfig -j lvlan lv1 inet6 fd00:17::10/64
sleep 3
say '# the example, while somebody outside has fd00:17::10'
must ctl apply -f "$DIR/original.yaml"
sleep 12
holds 'it says so' shows AddressDuplicated ctl describe jail www
# It does not run, so the host, whose address it would be, does not reach it.
ABSENT=yes
deny host fd00:17::10 8080 www
ABSENT=
must host ifconfig -j lvlan lv1 inet6 fd00:17::10 -alias
is_ours() { host ifconfig lv1 inet6 | grep -q 'fd00:17::10'; }
! is_ours || must host ifconfig lv1 inet6 fd00:17::10 -alias
change
reach lvlan fd00:17::10 8080 www fd00:17::2
take_away
