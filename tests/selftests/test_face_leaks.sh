#!/bin/bash
# What a SCSI leaf can (integrity, atomic writes) does not come through a test node, and does through a plain remap where
# dm-linear lets it.
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_SCSI_DEBUG CONFIG_BLK_DEV_SD
load_vdisk
modprobe sd_mod
# Without discards and write zeroes: scsi_debug then finds its own protection information wrong.
options=(dev_size_mb=8 dif=1 dix=1 lbpu=1 lbpws=1)
modinfo scsi_debug | grep -q 'atomic_wr:' && options+=(atomic_wr=1)
modprobe scsi_debug "${options[@]}"
undo=('modprobe -r scsi_debug')
# shellcheck disable=SC2317
find_leaf() {
	leaf=$(dirname /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block)
	leaf=$(basename "$leaf"/block/*)
	[[ -b /dev/$leaf ]]
}
wait_for 20 find_leaf
ok $? 'the leaf'
integrity() { cat "/sys/block/$1/integrity/format" 2>/dev/null || echo none; }
node() { dmsetup info -c --noheadings -o blkdevname "$VD$1"; }
comment "leaf: integrity $(integrity "$leaf"), atomic $(cat "/sys/block/$leaf/queue/atomic_write_max_bytes" 2>/dev/null)"

vd a 8192 "test ( block /dev/$leaf )"
is "$(integrity "$(node a)" | sed s/nop/none/)" none 'a test node: no integrity'
is "$(cat "$(queue a)/atomic_write_max_bytes" 2>/dev/null || echo 0)" 0 'a test node: no atomic writes'
verified 'a test node: data' -n 300 -f 2 --verify "/dev/mapper/${VD}a"
gone a
vd a 8192 "block /dev/$leaf"
dm s "0 8192 linear /dev/$leaf 0"
if [[ $VDISK_KERNEL == 6.1 ]]; then
	is "$(integrity "$(node a)" | sed s/nop/none/)" none 'a leaf: 6.1 cannot pass integrity'
else
	is "$(integrity "$(node a)")" "$(integrity "$(node s)")" 'a leaf: integrity as dm-linear'
fi
same_queue 'a leaf: the same queue' a s 'integrity'
verified 'a leaf: data' -n 300 -f 2 --verify "/dev/mapper/${VD}a"
gone a s
done_testing
