#!/bin/bash
# file on disks with blocks of 4096 bytes: the disk has such blocks too, or with block:512 smaller ones; lengths that are no
# multiple of that.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_LOOP CONFIG_EXT4_FS CONFIG_XFS_FS
load_vdisk
loop_disk 400 4096
scratch
a=/dev/mapper/${VD}a img=$mnt/img
io=(-n "${VDISK_OPS:-300}" -m 64 -d 3 -z 3 -f 3 -u 5 -w 20 --zeroed --discard-zeroes --verify)
for fs in ext4 xfs; do
	make_fs $fs "$DISK"
	truncate -s 4M "$img"
	truncate -s $((4 << 20 | 3 * 512)) "$mnt/odd"
	truncate -s $((4 << 20 | 100)) "$mnt/odder"
	refused 'file: start: not a multiple of the block size, 8 sectors' "file $img start:4" 8
	refused 'file: len: not a multiple of the block size, 8 sectors' "file $img len:12" 8
	refused 'file: len: missing; the 4195840 bytes of the file are no multiple of the block size, 4096 bytes' "file $mnt/odd" 8
	refused 'file: len: missing; the 4194404 bytes of the file are no multiple of the block size, 512 bytes' "file $mnt/odder block:512" 8
	refused "file: block: '4096' is not one of 512" "file $img block:4096" 8

	vd a 8192 "file $img"
	is "$(blockdev --getss "$a")" 4096 "$fs: the disk has its blocks"
	verified "$fs: blocks of 4096" "${io[@]}" --dump-model "$TMP/model" "$a"
	scratch=a
	run_ok "$fs: a live disk gets smaller blocks" dmsetup load "${VD}a" --table "0 8192 vdisk file $img block:512"
	gone a
	verified "$fs: the file" --check-file "$TMP/model" "$img"
	vd a 8192 "file $img block:512"
	refused 'file: block size 4096: the live disk has 512, and its users rely on that' "file $img" 8192
	gone a
	scratch=scratch

	rm "$img"
	for file in img odd odder; do
		[[ -e $mnt/$file ]] || truncate -s 4M "$mnt/$file"
		bytes=$(stat -c %s "$mnt/$file")
		vd a $((bytes / 512)) "file $mnt/$file block:512 len:$((bytes / 512))"
		is "$(cat "$(queue a)"/{logical,physical}_block_size | xargs)" '512 4096' "$fs: block:512, $bytes bytes"
		verified "$fs: block:512, $bytes bytes" "${io[@]}" --dump-model "$TMP/model" "$a"
		gone a
		is "$(stat -c %s "$mnt/$file")" "$bytes" "$fs: as long as before"
		verified "$fs: the file of $bytes bytes" --check-file "$TMP/model" "$mnt/$file"
	done
	# Sectors of the same blocks, written and made zero at the same time
	vd a 64 "file $mnt/img block:512"
	verified "$fs: block:512, parts of blocks meet" -n "$((${VDISK_OPS:-300} * 2))" -m 1 -z 30 -w 60 --verify "$a"
	run_ok "$fs: a part of a block meets all of it" meet "$a" "$a" block 2000
	run_ok "$fs: ... made zero" meet "$a" "$a" zero 1000
	gone a
	# Two disks of one file: of the same blocks, and side by side within one
	vd a 64 "file $mnt/img block:512 shared"
	for other in 'block:512 shared' 'shared' 'buffered shared'; do
		vd b 64 "file $mnt/img $other"
		run_ok "$fs: of another disk, $other" meet "$a" "/dev/mapper/${VD}b" block 1000
		[[ $other == shared ]] || run_ok "$fs: ... a part" meet "$a" "/dev/mapper/${VD}b" sector 1000
		gone b
	done
	gone a
	run_ok "$fs: unmount" umount "$mnt"
	run_ok "$fs: another file system" wipefs -qa "$DISK"
done
refusals

# Blocks that XFS shares between files: 7.3 writes them as a whole only. What the disk looks like does not change by it.
loop_disk 400 512
mkfs.xfs -qf -m reflink=1 "$DISK"
undo=("umount $mnt" "${undo[@]}")
mount -t xfs "$DISK" "$mnt"
head -c 4M /dev/urandom >"$img"
sync -f "$mnt"
vd a 8192 "file $img"
is "$(limit a logical_block_size)" 512 'not yet shared'
run_ok 'a snapshot of the file' cp --reflink=always "$img" "$mnt/snapshot"
sum=$(sha256sum <"$mnt/snapshot")
verified 'shared: written' "${io[@]::${#io[@]} - 3}" --verify --size $((1 << 20)) "$a"
run_ok 'shared: reloaded' reload a "0 8192 vdisk file $img"
run_ok 'shared: reads of 512' dd if="$a" of=/dev/null bs=512 skip=3000 count=10 iflag=direct status=none
cp --reflink=always "$img" "$mnt/snapshot2"
run_ok 'shared: again' reload a "0 8192 vdisk concat ( file $img )"
is "$(limit a logical_block_size)" 512 'shared: the same blocks'
dd if="$TMP/model" of="$a" bs=512 seek=4099 count=3 oflag=direct conv=notrunc status=none
run_ok 'shared: parts of blocks' cmp -n 1536 "$a" "$TMP/model" -i $((4099 * 512)):0
gone a
is "$(sha256sum <"$mnt/snapshot")" "$sum" 'the snapshot has not changed'
vd a 8192 "overlay volatile ( ram ) ( file $img )"
is "$(limit a logical_block_size)" 512 'shared: a base'
gone a
umount "$mnt"

# What is written must not change meanwhile, if that is so below
if [[ -w /sys/block/${DISK##*/}/queue/stable_writes ]]; then
	for stable in 1 0; do
		echo $stable >"/sys/block/${DISK##*/}/queue/stable_writes"
		mount -t xfs "$DISK" "$mnt"
		vd a 8192 "file $img"
		vd b 8192 "overlay volatile ( file $mnt/snapshot ) ( zero )"
		is "$(limit a stable_writes) $(limit b stable_writes)" "$stable $stable" "stable pages below: $stable"
		gone a b
		vd a 8192 "file $img buffered"
		is "$(limit a stable_writes)" 0 "stable pages below: $stable: buffered"
		gone a
		umount "$mnt"
	done
fi
done_testing
