#!/bin/bash
# file: what the file system, its disk, or who has the file does wrong: right status, nothing lost that was flushed, and when the
# cause has gone the disk works again. Full disk, quota, read-only remount, I/O errors, a file that gets shorter or longer.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_EXT4_FS CONFIG_XFS_FS
load_vdisk
null_disk 400 512 discard=1
a=/dev/mapper/${VD}a img=$mnt/img under=/dev/mapper/${VD}under

reads() { error dd if="$a" of=/dev/null bs=64k "$@" iflag=direct; }
writes() { error dd if="$TMP/data" of="$a" bs=64k "$@" oflag=direct conv=notrunc; }
flush() { error sync "$a"; }
works() {
	run_ok "$1: works again" dd if="$TMP/data" of="$a" bs=64k count=16 oflag=direct conv=notrunc,fsync status=none
	run_ok "$1: and holds it" cmp -n 1M "$TMP/data" "$a"
	blockdev --flushbufs "$a"
}
head -c 8M /dev/urandom >"$TMP/data"
len=$((400 << 11))
dm under "0 $len linear $DISK 0"

for fs in ext4 xfs; do
	make_fs $fs "$under"

	# Full. What is there already can be written; all else cannot, and nothing is half done.
	for options in '' buffered; do
		name="$fs${options:+ $options}"
		rm -f "$img"
		truncate -s 64M "$img"
		vd a 131072 "file $img $options"
		dd if="$TMP/data" of="$a" bs=1M count=4 oflag=direct conv=notrunc status=none
		run_ok "$name: what is to stay" sync "$a"
		fallocate -l 1T "$mnt/filler" 2>/dev/null
		dd if=/dev/zero of="$mnt/filler" bs=1M oflag=append,direct conv=notrunc status=none 2>/dev/null
		dd if=/dev/zero of="$mnt/filler" bs=4k oflag=append,direct conv=notrunc status=none 2>/dev/null
		sync -f "$mnt"
		is "$(writes seek=128 count=64)" 'No space left on device' "$name: full"
		run_ok "$name: full: what has space" dd if="$TMP/data" of="$a" bs=1M count=4 oflag=direct conv=notrunc,fsync status=none
		run_ok "$name: full: is there" cmp -n 4M "$TMP/data" "$a"
		is "$(counter a file 1 error)" -28 "$name: the status says why"
		ok "$(($(counter a file 1 errors) < 1))" "$name: and counts it"
		rm "$mnt/filler"
		sync -f "$mnt"
		run_ok "$name: no longer full" dd if="$TMP/data" of="$a" bs=64k seek=128 count=64 oflag=direct conv=notrunc,fsync status=none
		run_ok "$name: and holds all" cmp -n 4M "$a" "$TMP/data"
		gone a
	done

	# A range that fails, then a disk that does
	rm -f "$img"
	truncate -s 16M "$img"
	vd a 32768 "file $img"
	dd if="$TMP/data" of="$a" bs=1M count=8 oflag=direct conv=notrunc,fsync status=none
	start=$(filefrag -v -b512 "$img" | awk '$1 == "0:" { sub(/\.\.$/, "", $4); print $4 + 0 }')
	before=$((start + 2048))
	filefrag -v -b512 "$img" | awk '$1 == "0:" { exit $6 + 0 < 4096 }'
	ok $? "$fs: the range and what is about it lie in one piece"
	bad="0 $before linear $DISK 0
$before 128 error
$((before + 128)) $((len - before - 128)) linear $DISK $((before + 128))"
	reload under "$bad" --nolockfs
	is "$(reads count=64)" 'Input/output error' "$fs: a read of a bad range"
	run_ok "$fs: others are read" dd if="$a" of=/dev/null bs=64k skip=17 count=40 iflag=direct status=none
	is "$(writes seek=15 count=4)" 'Input/output error' "$fs: a write of a bad range"
	run_ok "$fs: others are written" dd if="$TMP/data" of="$a" bs=64k count=16 oflag=direct conv=notrunc status=none
	is "$(counter a file 1 error)" -5 "$fs: the status says so"
	reload under "0 $len linear $DISK 0" --nolockfs
	works "$fs: the range is good"
	# FUA that fails is the failure of what it has written, not of what the next flush is for
	reload under "$bad" --nolockfs
	is "$(writes seek=16 count=1 oflag=direct,dsync)" 'Input/output error' "$fs: FUA into a bad range"
	reload under "0 $len linear $DISK 0" --nolockfs
	run_ok "$fs: a flush has lost nothing" sync "$a"
	gone a

	# What could not be written back: told to a flush, once, also if FUA was told first, and to a table that comes after that
	for then in '' reloaded:; do
		vd a 32768 "file $img buffered"
		dd if="$TMP/data" of="$a" bs=64k seek=16 count=1 oflag=direct conv=notrunc status=none
		reload under "$bad" --nolockfs
		sync -f "$mnt"
		reload under "0 $len linear $DISK 0" --nolockfs
		is "$(writes count=1 oflag=direct,dsync)" 'Input/output error' "$fs: FUA hears of what was not written back"
		[[ ! $then ]] || reload a "0 32768 vdisk file $img buffered"
		is "$(flush)" 'Input/output error' "$fs: $then a flush hears of it too"
		run_ok "$fs: $then the next one does not" sync "$a"
		gone a
	done

	# A file that gets shorter reads as an error there, and longer: an event, and a reload that grows
	vd a 32768 "file $img"
	truncate -s 4M "$img"
	is "$(reads skip=80 count=1)" 'Input/output error' "$fs: shorter: reads behind the end"
	run_ok "$fs: shorter: those in front of it" dd if="$a" of=/dev/null bs=64k count=64 iflag=direct status=none
	truncate -s 16M "$img"
	works "$fs: as long as before"
	event=$(dmsetup info -c --noheadings -o events "${VD}a")
	truncate -s 24M "$img"
	run_ok "$fs: longer: an event" timeout 20 dmsetup wait "${VD}a" "$event"
	is "$(counter a file 1 size)" 49152 "$fs: longer: the status"
	is "$(sectors "$a")" 32768 "$fs: longer: not yet the disk"
	run_ok "$fs: longer: a reload" reload a "0 49152 vdisk file $img"
	run_ok "$fs: longer: all of it" dd if=/dev/urandom of="$a" bs=1M seek=23 count=1 oflag=direct status=none
	gone a
	umount "$mnt"
	wipefs -qa "$under"
done

# as_file NAME: reads do as those of the file itself, which ext4 of 6.12 and older refuses when it has given up
as_file() { is "$(reads count=16)" "$(error dd if="$img" of=/dev/null bs=64k count=16 iflag=direct)" "$1"; }

# The file system gives up: ext4 by errors=remount-ro. What was flushed is there when it comes back.
make_fs ext4 "$under"
umount "$mnt"
mount -o errors=remount-ro "$under" "$mnt"
truncate -s 64M "$img"
vd a 131072 "file $img"
dd if="$TMP/data" of="$a" bs=1M count=8 oflag=direct conv=notrunc,fsync status=none
echo 1 >"/sys/fs/ext4/$(dmsetup info -c --noheadings -o blkdevname "${VD}under")/trigger_fs_error"
wait_for 20 grep -q " $mnt ext4 ro" /proc/mounts
is "$(writes seek=512 count=1)" 'Input/output error' 'read-only: a write fails'
as_file 'read-only: reads do as the file'
gone a
umount "$mnt"
e2fsck -fy "$under" >/dev/null
# The journal is not to be there before the flush is.
mount -o commit=300 "$under" "$mnt"
vd a 131072 "file $img"
run_ok 'mounted again: what was flushed is there' cmp -n 8M "$TMP/data" "$a"
works 'mounted again'

# Nothing can be written: the flush says so, whoever wrote
if has_config CONFIG_DM_FLAKEY; then
	dd if="$TMP/data" of="$a" bs=64k seek=600 count=4 oflag=direct conv=notrunc status=none
	reload under "0 $len flakey $DISK 0 0 1000 1 error_writes" --nolockfs
	is "$(flush)" 'Input/output error' 'a flush that fails'
	is "$(writes count=1)" 'Input/output error' 'so does a write'
	as_file 'reads do as the file'
	reload under "0 $len linear $DISK 0" --nolockfs
	gone a
	umount "$mnt"
	e2fsck -fy "$under" >/dev/null
	mount "$under" "$mnt"
	vd a 131072 "file $img"
	works 'flakey: comes back'
fi
gone a
umount "$mnt"

# Quota of who opened it
if has_config CONFIG_XFS_QUOTA; then
	mkfs.xfs -qf "$under" >/dev/null
	mount -t xfs -o uquota "$under" "$mnt"
	truncate -s 64M "$img"
	chown 1234 "$img"
	xfs_quota -x -c 'limit bhard=8m 1234' "$mnt"
	vd a 131072 "file $img"
	run_ok 'quota: within' dd if="$TMP/data" of="$a" bs=1M count=4 oflag=direct conv=notrunc,fsync status=none
	is "$(writes seek=256 count=128)" 'No space left on device' 'quota: beyond'
	is "$(counter a file 1 error)" -122 'quota: the status says EDQUOT'
	xfs_quota -x -c 'limit bhard=0 1234' "$mnt"
	run_ok 'quota: lifted' dd if="$TMP/data" of="$a" bs=64k seek=256 count=128 oflag=direct conv=notrunc,fsync status=none
	gone a
	umount "$mnt"
fi

# Parts of blocks go by a page of our own, and so does what memory is not aligned for: the same, for each sector of it
disk512=$DISK len512=$len
null_disk 64 4096 discard=1
len=$((64 << 11))
dm under4 "0 $len linear $DISK 0"
part() { error dd if="$TMP/data" of="$a" bs=512 count=1 oflag=direct"${2-}" conv=notrunc seek="$1"; }
read_part() { error dd if="$a" of=/dev/null bs=512 count=1 iflag=direct skip="$1"; }
make_fs ext4 "/dev/mapper/${VD}under4"
truncate -s 16M "$img"
vd a 32768 "file $img block:512"
dd if="$TMP/data" of="$a" bs=1M count=4 oflag=direct conv=notrunc,fsync status=none
fallocate -l 1T "$mnt/filler" 2>/dev/null
dd if=/dev/zero of="$mnt/filler" bs=1M oflag=append,direct conv=notrunc status=none 2>/dev/null
dd if=/dev/zero of="$mnt/filler" bs=4k oflag=append,direct conv=notrunc status=none 2>/dev/null
sync -f "$mnt"
errors=$(counter a file 1 errors)
is "$(part 20001)" 'No space left on device' 'parts: full: a part of a block'
is "$(part 24002 ,dsync)" 'No space left on device' 'parts: full: with FUA'
is "$(counter a file 1 error) $(($(counter a file 1 errors) - errors))" '-28 2' 'parts: full: both are counted'
run_ok 'parts: full: a part of what has space' dd if="$TMP/data" of="$a" bs=512 seek=9 count=5 oflag=direct conv=notrunc,fsync status=none
run_ok 'parts: full: is there' cmp -n 2560 -i 0:4608 "$TMP/data" "$a"
rm "$mnt/filler"
sync -f "$mnt"
is "$(part 20001)$(part 24002 ,dsync)" '' 'parts: no longer full: parts of blocks'
run_ok 'parts: dropped' blockdev --flushbufs "$a"
before=$(filefrag -v -b512 "$img" | awk '$1 ~ /^[0-9]+:$/ && $2 + 0 <= 2048 && $3 + 0 >= 2048 + 127 { print $4 + 2048 - $2 }')
[[ $before ]]
ok $? "parts: a range lies in one piece, at $before"
bad="0 $before linear $DISK 0
$before 128 error
$((before + 128)) $((len - before - 128)) linear $DISK $((before + 128))"
reload under4 "$bad" --nolockfs
errors=$(counter a file 1 errors)
is "$(read_part 2049)" 'Input/output error' 'parts: a bad range: a part of a block is read'
is "$(part 2050)" 'Input/output error' 'parts: a bad range: is written, which reads the block'
is "$(part 2051 ,dsync)" 'Input/output error' 'parts: a bad range: with FUA'
is "$(error dd if="$a" of=/dev/null bs=64k count=2 iflag=direct,skip_bytes skip=$((1024 * 1024 - 64 * 1024 + 512)))" 'Input/output error' \
	'parts: a bad range: pages in front of it are good'
is "$(counter a file 1 error) $(($(counter a file 1 errors) - errors >= 4))" '-5 1' 'parts: a bad range: all are counted'
run_ok 'parts: a bad range: others are read' dd if="$a" of=/dev/null bs=512 skip=2177 count=9 iflag=direct status=none
reload under4 "0 $len linear $DISK 0" --nolockfs
run_ok 'parts: the range is good' dd if="$TMP/data" of="$a" bs=512 seek=2049 skip=2049 count=9 oflag=direct conv=notrunc,fsync status=none
run_ok 'parts: and nothing else has changed' cmp -n $((1 << 20)) -i $((1 << 20)) "$TMP/data" "$a"
gone a
umount "$mnt"
gone under4
DISK=$disk512 len=$len512

# What must not change: swap, and what chattr says: discards ask, as fallocate(2) does.
make_fs ext4 "$under"
head -c 16M /dev/zero >"$img"
chmod 600 "$img"
sync "$img"
before=$(allocated "$img")
vd a 32768 "file $img"
discards() {
	is "$(error blkdiscard "$a")" 'Input/output error' "$1: no discard"
	# 6.1 writes them then, as what is only appended to can still be written by who has it open
	[[ $1 == *+a ]] || is "$(error blkdiscard -z "$a")" 'Input/output error' "$1: no write zeroes"
	is "$(counter a file 1 error) $(allocated "$img")" "$2 $before" "$1: all is there"
}
for attribute in i a; do
	chattr "+$attribute" "$img"
	discards "chattr +$attribute" -1
	chattr "-$attribute" "$img"
done
if has_config CONFIG_SWAP; then
	mkswap "$img" >/dev/null
	undo=("swapoff $img" "${undo[@]}")
	swapon "$img"
	discards 'swap' -26
	scratch
	refused 'file: path: a swap file that is in use' "file $img" 32768
	refusals
	gone scratch
	swapoff "$img"
fi
run_ok 'and then discards' blkdiscard "$a"
gone a
umount "$mnt"
gone under
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
