#!/bin/bash
# What OpenVMM does wrong, D5: a flush rolls back its own transaction and writes nothing, and after the first one there is less
# durability than before. Here each flush, and each FUA, has data and presence on the store before it is acknowledged: the store is
# copied at that moment, as a loss of power would leave it, with all the copies opened later.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 4 512
base=$DISK
null_disk 8 512 discard=1
store=$DISK
null_disk 8 512 discard=1
copy=$DISK
a=/dev/mapper/${VD}a b=/dev/mapper/${VD}b
put "$base" b 65536
vdisk format --json "$store" --len 4096 --max-len 4096 --force >/dev/null
vd a 4096 "overlay ( block $store ) ( block $base )"
model=bbbbbbbbbbbbbbbb flush=
for ((i = 0; i < 8; i++)); do
	before=$(counter a block 1 flushes)
	case $((i % 4)) in
	0 | 2)
		put "$a" "$i" 512 seek=$i
		sync "$a"
		model=${model:0:i}$i${model:i+1}
		;;
	1)
		put "$a" "$i" 512 seek=$i oflag=direct,dsync
		model=${model:0:i}$i${model:i+1}
		;;
	3)
		blkdiscard -f -o $((i * 512)) -l 512 "$a"
		sync "$a"
		model=${model:0:i}.${model:i+1}
		;;
	esac
	flush+="$(($(counter a block 1 flushes) - before >= 2)) "
	dd if="$store" of="$copy" bs=1M iflag=direct oflag=direct status=none
	run_ok "$i: the store is clean" mkstore check "$copy"
	vd b 4096 "overlay ( block $copy ) ( block $base )"
	is "$(dd if="$b" bs=512 count=16 iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n')" "$model" "$i: what was flushed is there"
	gone b
done
is "$flush" '1 1 1 1 1 1 1 1 ' 'the store was flushed for data and for presence, each time'
# Nothing written, nothing to do, but what the store holds back
before=$(counter a block 1 flushes writes)
sync "$a"
ok "$(($(counter a block 1 flushes) <= ${before% *}))" 'a flush without a write reaches the store'
gone a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
