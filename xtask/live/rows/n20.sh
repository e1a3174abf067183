# title: scrub, and a closed port of the public address
# example: n20-host-rules/host-rules.yaml
# needs: vimage module=if_epair pf
outside
up
change 's/ports: \[111\]/ports: [112]/'
reach lvout 198.18.2.15 111 host 198.18.2.2
change
deny lvout 198.18.2.15 111 host
reach lvout 198.18.2.15 80 dick 198.18.2.2
reach dick 198.18.2.15 111 host
reach dick 198.18.2.2 443 lvout 198.18.2.15
holds 'what is scrubbed' shows 'scrub.*max-mss 1452' host pfctl -a cellblock/host -sr
refused 'block\[nfs\]' 's/ports: \[80\]/ports: [80, 111]/'
take_away
