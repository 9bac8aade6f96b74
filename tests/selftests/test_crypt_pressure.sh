#!/bin/bash
# Memory can be had back by writing through crypt: swap on it, and files that are dirtied faster than they are written.
# check: 6.12
# vm: --mem 1G --nvme 768M
# timeout: 900
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
# Held, not killed, when the disk is slower than they are; but all of them never fit
echo 48M >"$group/memory.high"
echo 120M >"$group/memory.max"
half=$((384 << 11))
swapped() { awk '$1 == "pswpout" { print $2 }' /proc/vmstat; }
# in_group COMMAND...
# shellcheck disable=SC2016 # for the other shell
in_group() { timeout 250 bash -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' bash "$group" "$@"; }

for options in '' sector_size:4096; do
	for stack in "block $disk" "striped chunk:128 ( block $disk len:$half ) ( block $disk start:$half len:$half )"; do
		name="$stack ${options:-sector_size:512}"
		# shellcheck disable=SC2086 # none or one
		crypt_vd a "$((2 * half))" "$stack" 0 $options
		mkswap "$a" >/dev/null
		run_ok "$name: swapon" swapon "$a"
		before=$(swapped)
		run_ok "$name: processes that are larger than their cgroup may be" in_group bash -c 'membuster 60 1 & membuster 80 1 && wait $!'
		ok "$(($(swapped) - before < 5000))" "$name: were swapped out ($(($(swapped) - before)) pages)"
		run_ok "$name: swapoff" timeout 100 swapoff "$a"
		gone a
	done
done

# writer N: 30 MB, known by its number
# shellcheck disable=SC2317 # called by another shell
writer() { for i in $(seq 300); do printf '%s %0100000d\n' "$1" "$i"; done; }
export -f writer
crypt_vd a "$((2 * half))" "block $disk" 0
mkfs.ext4 -q "$a"
mount "$a" "$mnt"
export mnt
# shellcheck disable=SC2016 # for the other shell
run_ok 'writers held at the limit of their cgroup' in_group bash -c 'for n in 1 2 3; do
		writer $n >"$mnt/$n" &
	done
	wait && sync'
umount "$mnt"
mount "$a" "$mnt"
for n in 1 2 3; do
	is "$(writer "$n" | sha256sum)" "$(sha256sum <"$mnt/$n")" "what writer $n wrote"
done
umount "$mnt"
gone a
done_testing
