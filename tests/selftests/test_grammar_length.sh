#!/bin/bash
# Lengths: what a node has, what is asked of it, and multiples of blocks and chunks.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512
null_disk 8 4096
a=${disks[0]} b=${disks[1]}
scratch
unit='not a multiple of the block size, 8 sectors'

refused 'block: start: the device has 16384 sectors' "block $a start:16384"
refused 'block: start: the device has 16384 sectors' "block $a start:18014398509481983"
refused 'block: len: the device has 16384 sectors, 16376 from start on' "block $a start:8 len:16377"
refused 'block: len: not in 1..18014398509481983' "block $a len:0"
refused "striped/1/block: start: $unit" "striped chunk:8 ( block $a ) ( block $b start:4 )"
refused "concat/0/block: len: $unit" "concat ( block $b len:12 )"
refused 'block: has 16384 sectors, 16385 are asked of it' "block $a" 16385
refused 'block: has 100 sectors, 101 are asked of it' "block $a len:100" 101
refused 'block: has 16000 sectors, 16384 are asked of it' "block $a start:384" 16384
refused "block: length 2049: $unit" "block $b" 2049
refused "striped: chunk: $unit" "striped chunk:12 ( block $a ) ( block $b )" 2400
refused 'striped: has 32768 sectors, 32784 are asked of it' "striped chunk:8 ( block $a ) ( block $b )" 32784
refused 'striped: has 32720 sectors, 32768 are asked of it' "striped chunk:40 ( block $a ) ( block $b )" 32768
refused 'striped: has 192 sectors, 256 are asked of it' "striped chunk:32 ( block $a len:100 ) ( block $b )" 256
refused 'striped: length 2056: not a multiple of 2 children x 8 sectors of chunk' "striped chunk:8 ( zero ) ( ram )" 2056
refused 'striped: length 2048: not a multiple of 3 children x 8 sectors of chunk' \
	"striped chunk:8 ( zero ) ( ram ) ( zero )"
refused 'concat: has 32768 sectors, 32776 are asked of it' "concat ( block $a ) ( block $b )" 32776
refused 'concat: has 16484 sectors, 16488 are asked of it' "concat ( block $a ) ( block $a len:100 )" 16488
refused 'concat/0/ram: has no length of its own, so it can only be the last' 'concat ( ram ) ( zero )'
refused 'concat/1/striped: has no length of its own, so it can only be the last' \
	"concat ( block $a ) ( striped chunk:8 ( ram ) ) ( zero )" 20000
refused "concat/0/block: start: not a multiple of the disk's block size, 8 sectors" \
	"concat ( block $a start:4 len:800 ) ( block $b )" 1600
refused "concat/0/block: length 100: $unit" "concat ( block $a len:100 ) ( block $b )" 200
refused 'test: has 16384 sectors, 16392 are asked of it' "test ( block $a )" 16392
refused "test: piece: $unit" "test piece:4 ( block $b )"

# A zoned device has other rules for writes
if has_config CONFIG_BLK_DEV_ZONED; then
	null_disk 16 512 zoned=1 zone_size=4
	is "$(cat "/sys/block/${DISK##*/}/queue/zoned")" host-managed 'a zoned device'
	refused 'block: device: zoned devices cannot be used' "block $DISK"
	refused 'striped/1/block: device: zoned devices cannot be used' "striped chunk:8 ( block $a ) ( block $DISK )"
else
	skip 'a zoned device' CONFIG_BLK_DEV_ZONED
fi
refusals

# Less than there is, and what fits exactly
for line in "16384 block $a" "8 block $b" "100 block $a start:16284" "32720 striped chunk:40 ( block $a ) ( block $b )" \
	"128 striped chunk:64 ( block $a ) ( zero )" "32768 concat ( block $a ) ( block $b )" \
	"8 concat ( block $a ) ( block $b ) ( zero )" "16392 concat ( block $a ) ( ram )" \
	"18014398509481976 zero" "1 ram" "3 striped chunk:1 ( zero ) ( zero ) ( ram )"; do
	run_ok "loads: $line" dmsetup load "$VD$scratch" --table "0 ${line/ / vdisk }"
done

# Children that get nothing are never asked.
vd z 16384 "concat ( block $a ) ( block $b )"
verified 'a child without sectors' -n 100 -f 10 /dev/mapper/"${VD}z"
is "$(counter z block 2 flushes)" 0 'it sees no flush'
done_testing
