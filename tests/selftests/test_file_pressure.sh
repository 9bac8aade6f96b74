#!/bin/bash
# Memory can be had back by writing through file: a swap file on a file system on a file, and swap on the disk itself, in a cgroup
# that is too small.
# check: 6.12
# vm: --mem 1G --nvme 768M
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_SWAP CONFIG_MEMCG CONFIG_EXT4_FS CONFIG_XFS_FS
load_vdisk
group=/sys/fs/cgroup/$VD a=/dev/mapper/${VD}a img=$mnt/img inner=$TMP/inner
mkdir -p "$inner" "$group"
undo=("swapoff $a" "swapoff $inner/swap" "umount $inner" "dmsetup remove ${VD}a" "rmdir $group")
echo +memory +io >/sys/fs/cgroup/cgroup.subtree_control
# Held, not killed, when the disk is slower than they are; but all of them never fit
echo 48M >"$group/memory.high"
echo 120M >"$group/memory.max"
swapped() { awk '$1 == "pswpout" { print $2 }' /proc/vmstat; }
# in_group COMMAND...
# shellcheck disable=SC2016 # for the other shell
in_group() { timeout 200 bash -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' bash "$group" "$@"; }

# presses NAME SWAP
presses() {
	mkswap "$2" >/dev/null
	run_ok "$1: swapon" swapon "$2"
	before=$(swapped)
	run_ok "$1: processes that are larger than their cgroup may be" in_group bash -c 'membuster 60 1 & membuster 80 1 && wait $!'
	ok "$(($(swapped) - before < 5000))" "$1: were swapped out ($(($(swapped) - before)) pages)"
	# What the file takes for it (the page cache, when buffered) is not the group's: to make room it would need room
	charged=$(awk '$1 == "file" { print int($2 / 1048576) }' "$group/memory.stat")
	ok "$((charged > 2))" "$1: and the group did not pay for the file's pages ($charged MiB)"
	comment "$(status a), $(grep -E '^(max|oom)' "$group/memory.events" | xargs)"
	run_ok "$1: swapoff" timeout 100 swapoff "$2"
}

for way in 'ext4 file' 'ext4 disk buffered' 'xfs disk' 'xfs file buffered' 'xfs disk buffered'; do
	read -r fs swap options <<<"$way"
	make_fs "$fs" /dev/nvme0n1
	# With holes: to write it the file system has to allocate, and buffered the page cache too
	truncate -s 384M "$img"
	vd a $((384 << 11)) "file $img $options"
	if [[ $swap == file ]]; then
		mkfs.ext4 -qF "$a"
		mount "$a" "$inner"
		dd if=/dev/zero of="$inner/swap" bs=1M count=256 status=none
		chmod 600 "$inner/swap"
		sync "$inner/swap"
		presses "$way: a swap file on a file system on it" "$inner/swap"
		run_ok "$way: unmount what is on it" umount "$inner"
	else
		presses "$way: swap on it" "$a"
	fi
	gone a
	rm "$img"
	run_ok "$way: unmount" umount "$mnt"
	wipefs -qa /dev/nvme0n1
done
done_testing
