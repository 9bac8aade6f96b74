#!/bin/bash
# file on ext4, xfs, btrfs and tmpfs, direct and buffered: I/O of four threads against a model; the file, read past the disk, holds
# the same; what is discarded is free again; nothing keeps the file system mounted.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 7.3
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_EXT4_FS
load_vdisk
null_disk 400 512 discard=1
declare -i len=32768
a=/dev/mapper/${VD}a img=$mnt/img
io=(-n "${VDISK_OPS:-700}" -m 256 -d 4 -z 4 -f 3 -u 5 -w 20 --zeroed --discard-zeroes --verify)

for fs in $(file_systems); do
	make_fs "$fs" "$DISK"
	for options in '' buffered; do
		name="$fs${options:+ $options}"
		rm -f "$img"
		truncate -s $((len * 512)) "$img"
		if [[ $fs == tmpfs && ! $options && $VDISK_KERNEL == 6.1 ]]; then
			scratch=scratch
			dmsetup create "$VD$scratch" --notable
			refused 'file: path: the file system has no direct I/O; say buffered' "file $img"
			refusals
			gone scratch
			continue
		fi
		vd a "$len" "file $img $options"
		verified "$name: through the disk" "${io[@]}" --dump-model "$TMP/model" "$a"
		if [[ $fs == ext4 && ! $options ]]; then
			before=$(counter a file 1 inline)
			for _ in 1 2 3; do
				sync "$a"
			done
			dd if="$a" of="$TMP/part" bs=4k count=16 status=none
			dd if="$TMP/part" of="$a" bs=4k oflag=direct conv=notrunc status=none
			ok "$(($(counter a file 1 inline) - before < 16))" "$name: writes are begun where they come from, also after flushes"
		fi
		comment "$(status a)" "$(grep . "$(queue a)"/{logical_block_size,physical_block_size,dma_alignment,write_cache,fua,discard_granularity} | sed 's/.*queue.//')"
		gone a
		verified "$name: the file" --check-file "$TMP/model" "$img"
		vd a "$len" "file $img $options"
		ok "$(($(allocated "$img") < 2000))" "$name: takes space"
		run_ok "$name: discard all" blkdiscard "$a"
		sync "$img"
		ok "$(($(allocated "$img") > 64))" "$name: which is free again"
		is "$(stat -c %s "$img")" $((len * 512)) "$name: and the file is as long as ever"
		gone a
	done
	run_ok "$fs: unmount" umount "$mnt"
done

# A reader that is killed has errors of its own, and the disk none. What it has asked for is in the page cache, so that its
# requests are tried where they come from, and there are many.
make_fs ext4 "$DISK"
head -c 128M /dev/zero >"$mnt/killed"
vd a 262144 "file $mnt/killed buffered"
for i in 05 08 11 14 17 20 23 26 30 35 40 50; do
	timeout -s KILL "0.$i" dd if="$a" of=/dev/null bs=128M iflag=direct status=none
done 2>/dev/null
comment "$(counter a file 1 inline) tried inline"
is "$(counter a file 1 errors error)" '0 0' 'readers that are killed: no error of the disk'
gone a
umount "$mnt"
done_testing
