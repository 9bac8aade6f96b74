#!/bin/bash
# Memory can be had back by writing through crypt: swap on it, and files that are dirtied faster than they are written.
# vm: --mem 384M --nvme 768M
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_SWAP CONFIG_DM_CRYPT CONFIG_KEYS CONFIG_MEMCG CONFIG_EXT4_FS
load_vdisk
modprobe ext4
key k 64
disk=/dev/nvme0n1 group=/sys/fs/cgroup/$VD a=/dev/mapper/${VD}a mnt=$TMP/mnt
mkdir -p "$mnt" "$group"
undo=("swapoff $a" "umount $mnt" "rmdir $group")
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
swapped() { awk '$1 == "pswpout" { print $2 }' /proc/vmstat; }
half=$((384 << 11))

for options in '' sector_size:4096; do
	for stack in "block $disk" "striped chunk:128 ( block $disk len:$half ) ( block $disk start:$half len:$half )"; do
		name="$stack ${options:-sector_size:512}"
		# shellcheck disable=SC2086 # none or one
		crypt_vd a "$((2 * half))" "$stack" 0 $options
		mkswap "$a" >/dev/null
		run_ok "$name: swapon" swapon "$a"
		before=$(swapped)
		run_ok "$name: a process larger than the memory" timeout 200 membuster 450 2
		ok "$(($(swapped) - before < 10000))" "$name: was swapped out ($(($(swapped) - before)) pages)"
		run_ok "$name: swapoff" timeout 60 swapoff "$a"
		gone a
	done
done

crypt_vd a "$((2 * half))" "block $disk" 0
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 -O ^metadata_csum "$a"
mount "$a" "$mnt"
echo 48M >"$group/memory.max"
# shellcheck disable=SC2016 # for the other shell
run_ok 'writers held at the limit of their cgroup' timeout 200 bash -c 'echo $$ >"$1/cgroup.procs"
	for n in 1 2; do
		(for i in $(seq 1500); do printf "%s %0100000d\n" "$n" "$i"; done >"$2/$n") &
	done
	wait && sync' bash "$group" "$mnt"
for n in 1 2; do
	umount "$mnt" && mount "$a" "$mnt"
	is "$(for i in $(seq 1500); do printf '%s %0100000d\n' "$n" "$i"; done | sha256sum)" "$(sha256sum <"$mnt/$n")" "what writer $n wrote"
done
umount "$mnt"
gone a
done_testing
