# title: thick jails from a tarball
# example: j03-thick/thick.yaml
# needs: vimage
short_rc
image
up
made() { mounted "$1" && host jexec "$1" /bin/sh -c true; }
mounted() { shows "^$STORAGE/roots/" host jls -j "$1" path; }
for jail in bsd-test01 bsd-test02; do holds "$jail runs from a root of its own" made $jail; done
[ "$(host jls -j bsd-test01 path)" != "$(host jls -j bsd-test02 path)" ] || fail 'both have one root'
first=$(host jls -j bsd-test01 path)
keep=$(host jls -j bsd-test02 path)
must host touch "$keep/var/kept"
must ctl delete jail bsd-test01 --timeout 180s
holds 'its root is gone with it' is_absent "$first"
must ctl apply -f "$DIR/original.yaml"
settle
holds 'it has a new one' made bsd-test01
# A restart keeps what the jail wrote.
must ctl restart jail bsd-test02
settle
holds 'what it wrote is there' host test -f "$keep/var/kept"
take_away
holds 'no root is left' lacks . host ls "$STORAGE/roots"
holds 'and no image' lacks . host ls "$STORAGE/images"
