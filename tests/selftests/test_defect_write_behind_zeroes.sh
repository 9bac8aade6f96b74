#!/bin/bash
# What OpenVMM does wrong, D4: data that is written behind the point from which all is zero, after a disk has grown or its end was
# discarded, reads as zeroes. Here it reads as written, and what is beside it as zeroes.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 4 512
base=$DISK
null_disk 16 512 discard=1
store=$DISK
a=/dev/mapper/${VD}a
# seen FIRST NR
seen() { dd if="$a" bs=512 skip="$1" count="$2" iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n'; }

for stack in ram 'overlay volatile ( ram ) ( zero )' "overlay volatile ( ram ) ( block $base len:100 )" \
	"overlay ( block $store ) ( block $base len:100 )" "overlay copy_on_read ( block $store ) ( block $base len:100 )"; do
	put "$base" b 51200
	mkstore format "$store" --len 100 --max-len 4000
	vd a 100 "$stack"
	put "$a" w 51200
	reload a "0 200 vdisk $stack"
	put "$a" 7 512 seek=150
	is "$(seen 98 4)$(seen 149 3)" ww...7. "$stack: written behind the old end"
	for ((i = 151; i < 159; i++)); do
		put "$a" 8 512 seek=$i
	done
	is "$(seen 148 12)" ..788888888. 'and more'
	blkdiscard -f -o $((64 * 512)) "$a"
	put "$a" 7 512 seek=70
	is "$(seen 62 4)$(seen 69 3)$(seen 198 2)" ww...7... 'written behind where a discard to the end began'
	blkdiscard -f -z -o $((60 * 512)) "$a"
	put "$a" 5 512 seek=199
	is "$(seen 60 140)" "$(printf '%0139d' 0 | tr 0 .)5" 'and behind write-zeroes, the last sector'
	reload a "0 400 vdisk $stack"
	put "$a" 6 512 seek=399
	is "$(seen 198 4)$(seen 398 2)" .5...6 'and once it has grown again'
	gone a
done
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
