#!/bin/bash
# What a SCSI leaf can (integrity, atomic writes) does not come through a test node, and does through a plain remap where
# dm-linear lets it.
# check: 7.3
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
# 6.1 cannot pass integrity.
if [[ $VDISK_KERNEL != 6.1 ]]; then
	[[ $(integrity "$leaf") == T10* ]]
	ok $? "the leaf has integrity: $(integrity "$leaf")"
fi
# The border of concat is odd, and its second child's first sector is not where dm core looks: what goes across is trimmed.
while IFS=';' read -r stack peer; do
	vd a 8160 "$stack"
	dm s "${peer//+/$'\n'}"
	if [[ $VDISK_KERNEL == 6.1 ]]; then
		is "$(integrity "$(node a)" | sed s/nop/none/)" none "$stack: none"
	else
		is "$(integrity "$(node a)")" "$(integrity "$leaf")" "$stack: the leaf's integrity"
		is "$(integrity "$(node a)")" "$(integrity "$(node s)")" "$stack: as its peer"
	fi
	same_queue "$stack: the same queue" a s 'integrity'
	verified "$stack: written" -n 300 -f 2 -m 512 --dump-model "$TMP/model" "/dev/mapper/${VD}a"
	verified "$stack: read through the peer" --check-file "$TMP/model" "/dev/mapper/${VD}s"
	verified "$stack: written through the peer" -n 300 -f 2 -m 512 --dump-model "$TMP/model" "/dev/mapper/${VD}s"
	verified "$stack: read" --check-file "$TMP/model" "/dev/mapper/${VD}a"
	gone a s
done <<STACKS
block /dev/$leaf;0 8160 linear /dev/$leaf 0
concat ( block /dev/$leaf len:3001 ) ( block /dev/$leaf start:4003 );0 3001 linear /dev/$leaf 0+3001 5159 linear /dev/$leaf 4003
striped chunk:24 ( block /dev/$leaf len:4080 ) ( block /dev/$leaf start:8000 );0 8160 striped 2 24 /dev/$leaf 0 /dev/$leaf 8000
STACKS

# By a reload, what has none gets what the leaf has, or not, and loses it again, as with dm-zero and dm-linear.
vd a 8160 "test ( block /dev/$leaf )"
dm s '0 8160 zero'
for stack in block test block; do
	vdisk="block /dev/$leaf" peer="linear /dev/$leaf 0"
	[[ $stack == block ]] || vdisk="test ( block /dev/$leaf )" peer=zero
	reload a "0 8160 vdisk $vdisk" 2>/dev/null
	vdisk=$?
	reload s "0 8160 $peer" 2>/dev/null
	status=$?
	peer=$(integrity "$(node s)" | sed s/nop/none/)
	[[ $VDISK_KERNEL != 6.1 ]] || peer=none
	is "$vdisk $(integrity "$(node a)" | sed s/nop/none/)" "$status $peer" "reload to $stack: as its peer"
	verified "reload to $stack: data" -n 200 -f 2 -m 512 --verify "/dev/mapper/${VD}a"
done
gone a s

# Cut by us, not by dm core
vd a 8160 "concat ( striped chunk:24 ( block /dev/$leaf len:4080 ) ( block /dev/$leaf start:8000 ) )"
[[ $VDISK_KERNEL == 6.1 ]] || is "$(integrity "$(node a)")" "$(integrity "$leaf")" "striped in concat: the leaf's integrity"
verified 'striped in concat: data' -n 300 -f 2 -m 512 --verify "/dev/mapper/${VD}a"
gone a
done_testing
