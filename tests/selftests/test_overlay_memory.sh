#!/bin/bash
# overlay: what it knows of its store goes under memory pressure and is read again; what is dirty is bounded; what lies behind the
# end of a store is not looked for.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 7.3
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 16 512
null_disk 24 512 discard=1
null_disk 24 4096 discard=1
base=${disks[0]} store=${disks[1]} large=${disks[2]}
a=/dev/mapper/${VD}a
put "$base" b 65536

# An activation reads the superblocks and nothing else; clean leaves go when they have to
mkstore format "$store" --len 16384
vd a 16384 "overlay ( block $store ) ( block $base )"
is "$(counter a block 1 reads read_sectors)" '2 2' 'an activation reads two sectors'
for i in 0 1 2 3 4 5 6 7; do
	put "$a" "$i" 512 seek=$((i * 1984 + 7))
done
sync "$a"
wait_for 30 sh -c "echo 2 >/proc/sys/vm/drop_caches; dmsetup status ${VD}a | grep -q ' leaves=0 '"
is "$(counter a overlay 1 data leaves dirty)" '0 0 0' 'clean ones go'
is "$(for i in 0 1 2 3 4 5 6 7; do
	dd if="$a" bs=512 skip=$((i * 1984 + 6)) count=3 iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n'
done)" b0b.1..2..3..4..5..6..7. 'and are read again'
gone a

# Nothing is lost to that under load, whatever the blocks
# shellcheck disable=SC2317 # called by under_load
squeeze() {
	local i
	for i in 1 2 3 4 5 6 7 8 9 10; do
		echo 2 >/proc/sys/vm/drop_caches
	done
	(($1 % 3)) || sync "$a"
}
for place in "$store" "$large"; do
	unit=512
	[[ $place == "$store" ]] || unit=4096
	mkstore format "$place" --len 16384 --unit "$unit"
	vd a 16384 "test piece:24 up ( overlay ( block $place ) ( block $base ) )"
	under_load "$unit: leaves go" squeeze -d 8 -z 8 -f 8 -u 10 -w 20 --discard-zeroes --dump-model "$TMP/model"
	gone a
	vd a 16384 "overlay ( block $place ) ( block $base )"
	verified "$unit: there again" --check-file "$TMP/model" "$a"
	gone a
done

# Behind the end of a store that has no room to grow there are zeroes, not damage
mkstore format "$store" --len 1024
vd a 16384 "overlay volatile ( ram ) ( overlay ( block $store ) ( block $base len:1024 ) )"
is "$(dd if="$a" bs=512 skip=1022 count=4 iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n')" .... 'over the end'
is "$(dd if="$a" bs=512 skip=16383 count=1 iflag=direct status=none | tr '\0' . | cut -c 1)" . 'far behind it'
gone a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
