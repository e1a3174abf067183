# title: resource limits of a jail
# example: limits/limits.yaml
# needs: vimage racct
short_rc
up
for rule in vmemoryuse:deny=536870912 pcpu:deny=50 maxproc:deny=200 maxproc:log=150; do
    holds "$rule stands" shows "^jail:web:$rule\$" host rctl jail:web
done
before=$(jid web)
change 's/"maxproc:deny=200", "maxproc:log=150"/"maxproc:deny=100"/'
holds 'it counts less' shows '^jail:web:maxproc:deny=100$' host rctl jail:web
holds 'the former is gone' lacks 'maxproc:deny=200' host rctl jail:web
holds 'and what is logged' lacks 'maxproc:log' host rctl jail:web
# What somebody takes away is put back; what somebody adds stays as long as he likes.
must host rctl -r jail:web:maxproc:deny=100
wait_for 60 'that the agent put the limit back' shows '^jail:web:maxproc:deny=100$' host rctl jail:web
undo 'host rctl -r jail:web:openfiles:log=4000 >/dev/null 2>&1'
must host rctl -a jail:web:openfiles:log=4000
change
holds 'a rule of somebody else stays' shows '^jail:web:openfiles:log=4000$' host rctl jail:web
must host rctl -r jail:web:openfiles:log=4000
[ "$before" = "$(jid web)" ] || fail 'web was started again'
take_away
