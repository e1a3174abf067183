# title: roots on ZFS, on a pool of the row's own
# example: j03-zfs/zfs.yaml
# needs: vimage module=zfs
short_rc
zfs_image
up
datasets() { host zfs list -H -r -t all -o name,origin "$POOL/cb"; }
for jail in thick thin; do
    holds "$jail runs from its root" host jexec $jail /bin/sh -c true
    holds "$jail has a dataset" shows "^$STORAGE/roots/" host jls -j $jail path
done
holds 'the image has its snapshot' shows '@cellblock' datasets
holds 'thick is a clone of it' shows 'roots/.*@cellblock' datasets
thick=$(host jls -j thick path)
must host touch "$thick/var/kept"
must ctl restart jail thick
settle
holds 'what it wrote is there' host test -f "$thick/var/kept"
# Somebody puts a snapshot on it, and it is not destroyed with that.
name=$POOL/cb${thick#"$STORAGE"}
name=${name%/root}
must host zfs snapshot "$name@mine"
ctl delete jail thick --timeout 10s && fail 'a root went with the snapshot of somebody else'
holds 'the snapshot is there' shows '@mine' datasets
must host zfs destroy "$name@mine"
holds 'its root is gone' is_absent "$thick"
holds 'thin goes on' host jexec thin /bin/sh -c true
must ctl apply -f "$DIR/original.yaml"
settle
holds 'thick is new' host jexec thick /bin/sh -c true
take_away
holds 'no root and no image is left' lacks '[0-9a-f]*-[0-9a-f]\|@' datasets
