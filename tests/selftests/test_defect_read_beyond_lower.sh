#!/bin/bash
# What OpenVMM does wrong, D3: a read that begins behind the end of a shorter layer below panics. Here it reads zeroes, wherever it
# begins and ends, in two and in three layers, and what was written there is there.
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 4 512
base=$DISK
null_disk 16 512 discard=1
a=/dev/mapper/${VD}a
put "$base" b 65536
mkstore format "$DISK" --len 64

for lower in "block $base len:10" "cache volatile fill:8 ( ram ) ( block $base len:10 )" \
	"overlay ( block $DISK ) ( block $base len:10 )" "overlay volatile ( ram ) ( overlay volatile ( ram ) ( block $base len:10 ) )"; do
	vd a 4096 "overlay volatile ( ram ) ( $lower )"
	put "$a" t 512 seek=30
	model=$(printf '%010d' 0 | tr 0 b)$(printf '%020d' 0 | tr 0 .)t$(printf '%033d' 0 | tr 0 .)
	wrong=0
	for first in 9 10 11 29 30; do
		for nr in 1 5 25; do
			found=$(dd if="$a" bs=512 skip=$first count=$nr iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n')
			[[ $found == "${model:first:nr}" ]] || wrong=$((wrong + 1))
		done
	done
	is "$wrong" 0 "$lower: reads around the end"
	is "$(letter "$a" 4095)" . "$lower: the last sector"
	gone a
done
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
