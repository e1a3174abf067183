# title: thin jails over one base
# example: j04-thin/thin.yaml
# needs: vimage
short_rc
image
up
for jail in www db; do
    root=$(host jls -j $jail path)
    holds "$jail has the base" shows "$root/basejail nullfs *ro" flat_mounts
    holds "$jail links to it" host ls -d "$root/bin"
    holds "$jail runs what is in it" host jexec $jail /bin/sh -c true
    must host touch "$root/etc/own-of-$jail"
done
www=$(host jls -j www path)
db=$(host jls -j db path)
is_absent "$db/etc/own-of-www" || fail 'etc is shared'
must ctl delete jail www --timeout 180s
holds 'its root is gone' is_absent "$www"
holds 'db goes on' host jexec db /bin/sh -c true
must ctl apply -f "$DIR/original.yaml"
settle
holds 'www is new' host jexec www /bin/sh -c true
take_away
for folder in roots images; do holds "no $folder left" lacks . host ls "$STORAGE/$folder"; done
