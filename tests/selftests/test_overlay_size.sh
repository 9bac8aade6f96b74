#!/bin/bash
# overlay: a store of 16 TiB in a sparse file on xfs is made live by as many reads as one of 1 GiB, and takes as little memory; and
# first writes all over a disk do not take more than their share.
# VDISK_SCATTER: how many of them
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_BLK_DEV_LOOP CONFIG_XFS_FS
load_vdisk
a=/dev/mapper/${VD}a
loop_disk 400 512
make_fs xfs "$DISK"
# kib: what the kernel has taken
kib() { awk '/^(Slab|VmallocUsed|Percpu|PageTables):/ { sum += $2 } END { print sum }' /proc/meminfo; }

declare -A reads with taken
# What a device takes that is no stack of ours
null_disk 8 512
for i in 1 2 3; do
	before=$(kib)
	dm a "0 2048 linear $DISK 0"
	more=$(($(kib) - before))
	((more > ${taken[linear]-999999})) || taken[linear]=$more
	gone a
done
for size in 1G 16T; do
	len=$((${size/[GT]/} * (1 << (${#size} == 2 ? 21 : 31))))
	run_ok "$size: formatted" vdisk format "$mnt/$size" --len $size --max-len $size
	ok $(($(allocated "$mnt/$size") > 2048)) "$size: in next to no room"
	taken[$size]=999999
	for i in 1 2 3; do
		before=$(kib)
		vd a $len "overlay ( file $mnt/$size ) ( zero )"
		more=$(($(kib) - before))
		((more > taken[$size])) || taken[$size]=$more
		reads[$size]=$(counter a file 1 reads read_sectors)
		held="$(counter a overlay 1 leaves dirty)"
		((i < 3)) || break
		gone a
	done
	is "$held" '0 0' "$size: nothing of it is in memory"
	# The first, the last and some in between: one read each, of one block
	before=$(counter a file 1 reads)
	for sector in 0 $((len / 3)) $((len / 2)) $((len - 8)); do
		dd if="$a" of=/dev/null bs=4096 skip=$((sector / 8)) count=1 iflag=direct status=none
	done
	ok $(($(counter a file 1 reads) - before > 5)) "$size: few reads more for what is looked at"
	for sector in 8 $((len / 3 / 8 * 8)) $((len - 8)); do
		put "$a" w 4096 seek=$((sector / 8))
	done
	sync "$a"
	gone a
	vd a $len "overlay ( file $mnt/$size ) ( zero )"
	with[$size]=$(counter a file 1 reads read_sectors)
	is "$(letter "$a" 0)$(letter "$a" 8)$(letter "$a" $((len / 3 / 8 * 8)))$(letter "$a" $((len - 1)))" .www "$size: what was written is there"
	gone a
	ok $(($(allocated "$mnt/$size") > 4096)) "$size: and takes little room"
done
# With something in it, too
is "${with[16T]}" "${with[1G]}" '16 TiB with data are activated by the reads of 1 GiB'
is "${with[16T]% *}" 2 'which are two'
is "${reads[16T]}" "${reads[1G]}" "16 TiB are activated by the reads of 1 GiB"
is "${reads[16T]% *}" 2 'which are two'
ok $((taken[16T] - taken[1G] > 1024)) "and in its memory: ${taken[1G]} and ${taken[16T]} KiB"
ok $((taken[16T] - taken[linear] > 1024)) "which is less than 1 MiB above dm-linear's: ${taken[linear]} KiB"
rm "$mnt/1G" "$mnt/16T"

# A leaf of presence for each write. Data goes nowhere: there would be too much room between.
writes=${VDISK_SCATTER:-20000}
leaves=$((writes + 1))
null_disk $((leaves / 2048 + 3)) 512
len=$((leaves * 1984))
size=$(sectors "$DISK")
dm s "0 $size linear $DISK 0
$size $((len + 4096)) zero"
run_ok 'a store of holes' vdisk format "/dev/mapper/${VD}s" --len $len --max-len $len --force
vd a $len "overlay ( block /dev/mapper/${VD}s ) ( zero )"
scatter "$a" "$writes" &
pid=$! most=0
while kill -0 $pid 2>/dev/null; do
	dirty=$(counter a overlay 1 dirty)
	((dirty <= most)) || most=$dirty
	sleep 0.1
done
wait $pid
ok $? "$writes scattered first writes"
# As documented; each thread may have one more under way
ok $((most > 32768 + 4)) "$most leaves were dirty at most"
run_ok 'a flush' sync "$a"
is "$(counter a overlay 1 dirty)" 0 'none is'
gone a
is "$(vdisk check --json "/dev/mapper/${VD}s" 2>/dev/null | jq .units.data)" "$writes" 'all are on the store'
gone s
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
