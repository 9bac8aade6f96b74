#!/bin/bash
# Commits of an overlay: flushes that come together share one, and one that takes long is in nobody's way who does not flush.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 32 512
null_disk 16 512
store=${disks[0]} base=${disks[1]} a=/dev/mapper/${VD}a
len=$((16 * 1984))
format() { vdisk format "$store" --len $len --max-len $len --force >/dev/null; }
put "$base" b 1M

# 16 threads, a leaf each: every one alone would need two flushes of 200 ms.
format
vd a $len "overlay ( delay flush:200ms ( block $store ) ) ( block $base )"
before=$(counter a block 1 flushes)
run_ok '16 threads, each with its flushes' fio --name=x --filename="$a" --thread --numjobs=16 --rw=write --bs=4k --size=8k \
	--offset_increment=$((1984 * 512)) --fsync=1 --end_fsync=1 --ioengine=psync --direct=1 --allow_file_create=0 --group_reporting
flushes=$(($(counter a block 1 flushes) - before))
ok $((flushes > 20 || flushes < 2)) "they share commits: $flushes flushes of the store"
is "$(counter a overlay 1 dirty)" 0 'all is durable'
gone a

# Only the states are held back: by a device of their own, which is suspended. The data has the rest of the store.
format
dm meta "0 2048 linear $store 0"
vd a $len "overlay ( concat ( block /dev/mapper/${VD}meta ) ( block $store start:2048 ) ) ( block $base )"
put "$a" p 4096 conv=fsync
dmsetup suspend --nolockfs "${VD}meta"
put "$a" q 4096 seek=1 conv=fsync &
commit=$!
sleep 2
kill -0 $commit
ok $? 'a commit is under way'
run_ok 'a read of what is there goes on' timeout 10 dd if="$a" of=/dev/null bs=4096 count=1 iflag=direct
run_ok 'and a read of the base' timeout 10 dd if="$a" of=/dev/null bs=4096 count=1 skip=9 iflag=direct
run_ok 'and an overwrite' timeout 10 dd if=/dev/zero of="$a" bs=4096 count=1 oflag=direct conv=notrunc
run_ok 'and a first write' timeout 10 dd if=/dev/zero of="$a" bs=4096 count=1 seek=5 oflag=direct conv=notrunc
run_ok 'and a discard of a leaf' timeout 10 blkdiscard -f -o $((1984 * 512)) -l $((1984 * 512)) "$a"
kill -0 $commit
ok $? 'the commit is still under way'
dmsetup resume "${VD}meta"
wait $commit
ok $? 'it ends'
is "$(letter "$a" 0)$(letter "$a" 8)$(letter "$a" 16)$(letter "$a" 40)$(letter "$a" 1984)$(letter "$a" 3968)" '.qb...' 'all bytes'
gone a meta
run_ok 'the store is clean' vdisk check "$store"
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
