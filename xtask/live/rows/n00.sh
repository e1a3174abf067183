# title: no network at all, or the host's
# example: n00-no-network/no-network.yaml
# needs: vimage module=if_epair
outside $FAR
up
holds 'alone has no address' shows '^disable disable$' host jls -j alone ip4 ip6
change '/name: alone/,/^---/s|root: .*|&\
  parameters: {ip4: inherit}|' '/name: guest/,$s/parameters: .*/parameters: {}/'
reach alone $FAR 443 lvout 198.18.2.15
change
deny alone $FAR 443 lvout
reach guest $FAR 443 lvout 198.18.2.15
reach guest 198.18.2.15 8022 host
take_away
