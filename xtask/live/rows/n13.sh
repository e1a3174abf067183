# title: source address selection
# example: n13-source-address/source-address.yaml
# needs: vimage module=if_epair
outside
up
must host route -j lvout -n add -net 10.13.0.0/24 198.18.2.15
reach picked 198.18.2.2 443 lvout 198.18.2.41
reach first 198.18.2.2 443 lvout 10.13.0.3
change 's/ip4.saddrsel: false/ip4.saddrsel: true/'
reach first 198.18.2.2 443 lvout 198.18.2.42
change
reach first 198.18.2.2 443 lvout 10.13.0.3
# Outside, nobody knows the way back to the first address any more.
must host route -j lvout -n delete -net 10.13.0.0/24
deny first 198.18.2.2 443 lvout
reach picked 198.18.2.2 443 lvout 198.18.2.41
take_away
