#!/bin/bash
# file: power is cut where all was flushed, and somewhere on the way: the file system below comes back, and what was flushed is in
# the file.
# timeout: 400
# kernels: 6.12 7.3
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_LOG_WRITES CONFIG_EXT4_FS CONFIG_XFS_FS
load_vdisk
null_disk 320 512
null_disk 700 512
null_disk 320 512
null_disk 320 512
store=${disks[0]} log=${disks[1]} replayed=${disks[2]} cut=${disks[3]}
a=/dev/mapper/${VD}a img=$mnt/img

# look NAME [MODEL]: at a copy of what is on $replayed, for mounting it writes
look() {
	dd if="$replayed" of="$cut" bs=1M oflag=direct status=none
	run_ok "$1: mount" mount -t "$fs" "$cut" "$mnt"
	vd a 8192 "file $img"
	if [[ ${2-} ]]; then
		verified "$1: all that was flushed is there" --check-file "$2" "$a"
	else
		run_ok "$1: everything can be read" dd if="$a" of=/dev/null bs=1M iflag=direct status=none
	fi
	gone a
	umount "$mnt"
	case $fs in
	ext4) run_ok "$1: fsck" e2fsck -fn "$cut" ;;
	xfs) run_ok "$1: fsck" xfs_repair -n "$cut" ;;
	esac
}

for fs in ext4 xfs; do
	make_fs "$fs" "$store"
	truncate -s 4M "$img"
	umount "$mnt"
	dd if="$store" of="$replayed" bs=1M oflag=direct status=none
	dm s "0 $(sectors "$store") log-writes $store $log"
	mount -t "$fs" "/dev/mapper/${VD}s" "$mnt"
	vd a 8192 "file $img"
	rounds=3
	for ((i = 0; i < rounds; i++)); do
		verified "$fs: round $i" -n 60 -m 64 -f 10 -u 10 -d 8 -z 8 -r 10 --dump-model "$TMP/model$i" --discard-zeroes "$a"
		sync "$a"
		dmsetup message "${VD}s" 0 mark "round$i"
	done
	gone a
	umount "$mnt"
	gone s

	next=0
	for ((i = 0; i < rounds; i++)); do
		read -r next _ < <(logreplay "$log" "$replayed" "$next" "#$((next + 5 + RANDOM % 40))")
		look "$fs: round $i, entry $next"
		read -r next flushes < <(logreplay "$log" "$replayed" "$next" "@round$i")
		comment "entry $next, $flushes flushes"
		look "$fs: round $i" "$TMP/model$i"
	done
	dd if=/dev/zero of="$log" bs=1M count=4 oflag=direct status=none
done
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
