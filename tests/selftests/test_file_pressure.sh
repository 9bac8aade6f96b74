#!/bin/bash
# Memory can be had back by writing through file: a swap file on a file system on a file, and swap on the disk itself, in a cgroup
# that is too small.
# check: 6.1 6.12
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
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
echo 48M >"$group/memory.max"
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
	comment "$(status a)"
	run_ok "$1: swapoff" timeout 100 swapoff "$2"
}

for fs in ext4 xfs; do
	make_fs $fs /dev/nvme0n1
	for options in '' buffered; do
		name="$fs${options:+ $options}"
		# With holes: to write it the file system has to allocate
		truncate -s 384M "$img"
		vd a $((384 << 11)) "file $img $options"
		mkfs.ext4 -qF "$a"
		mount "$a" "$inner"
		dd if=/dev/zero of="$inner/swap" bs=1M count=256 status=none
		chmod 600 "$inner/swap"
		sync "$inner/swap"
		presses "$name: a swap file on a file system on it" "$inner/swap"
		run_ok "$name: unmount" umount "$inner"
		if [[ ! $options ]]; then
			blkdiscard -f "$a"
			presses "$name: swap on a file with holes" "$a"
		fi
		gone a
		rm "$img"
	done
	run_ok "$fs: unmount" umount "$mnt"
	wipefs -qa /dev/nvme0n1
done
done_testing
