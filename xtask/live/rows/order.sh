# title: jails that start in order
# example: order/order.yaml
# needs: vimage
short_rc
up
# Numbers of jails only grow.
[ "$(jid db)" -lt "$(jid app)" ] && [ "$(jid app)" -lt "$(jid web)" ] || fail 'db, app, web did not start in this order'
first=$(jid db)
before="$(jid app) $(jid web)"
must ctl restart jail db
settle
[ "$first" != "$(jid db)" ] || fail 'db was not started again'
[ "$before" = "$(jid app) $(jid web)" ] || fail 'those that depend on db were started again'
# Without db they go on, and app is not started again before it is there.
must ctl delete jail db --timeout 180s
must ctl restart jail app
wait_for 60 'that app waits for db' shows DependencyMissing ctl describe jail app
holds 'both go on' [ "$before" = "$(jid app) $(jid web)" ]
must ctl apply -f "$DIR/original.yaml"
settle
[ "$(jid db)" -lt "$(jid app)" ] || fail 'app did not wait for db'
[ "${before#* }" = "$(jid web)" ] || fail 'web was started again'
take_away
