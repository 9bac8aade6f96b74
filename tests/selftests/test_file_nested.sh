#!/bin/bash
# file: file systems on files on file systems, four deep; striped over files, crypt over one, an overlay whose store is one; extents
# that are not in memory.
# check: 7.3
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_EXT4_FS CONFIG_XFS_FS
load_vdisk
null_disk 1600 512 discard=1
a=/dev/mapper/${VD}a
io=(-n "${VDISK_OPS:-500}" -m 128 -d 3 -z 3 -f 4 -u 5 -w 20 --zeroed --discard-zeroes --verify)

# Extents that have to be read from the disk: 4000 of them, and nothing in memory
for fs in ext4 xfs; do
	make_fs $fs "$DISK"
	img=$mnt/img
	truncate -s 64M "$img"
	awk 'BEGIN { for (i = 0; i < 4000; i++) print "pwrite -S " i % 251 " " (i * 4 + (i * 7) % 3) * 4096 " 4096" }' | shuf --random-source=/dev/zero |
		xfs_io "$img" >/dev/null
	comment "$fs: $(filefrag "$img" | sed 's/.*: //')"
	umount "$mnt"
	mount -t $fs "$DISK" "$mnt"
	vd a 131072 "file $img"
	run_ok "$fs: cold extents, read and written" timeout 60 vdio -n 300 -m 32 --verify --size 33554432 "$a"
	comment "$(status a)"
	gone a
	umount "$mnt"
	mount -t $fs "$DISK" "$mnt"
	vd a 131072 "file $img"
	is "$(timeout 60 tail -c 30M "$a" | sha256sum)" "$(tail -c 30M "$img" | sha256sum)" "$fs: cold extents, all in turn"
	gone a
	umount "$mnt"
	wipefs -qa "$DISK"
done

# On overlayfs, whose inodes say that their blocks have one byte: to who sums up the limits, no such granularity comes
mkdir -p "$TMP/ovl/lower" "$TMP/ovl/upper" "$TMP/ovl/work" "$TMP/ovl/on"
undo=("umount $TMP/ovl/on" "${undo[@]}")
run_ok 'overlayfs: mount' mount -t overlay overlay -o "lowerdir=$TMP/ovl/lower,upperdir=$TMP/ovl/upper,workdir=$TMP/ovl/work" "$TMP/ovl/on"
truncate -s 1M "$TMP/ovl/on/img"
run_ok 'overlayfs: a node over a file' vd a 2048 "delay read:1ms ( file $TMP/ovl/on/img buffered )"
n=$(cat "$(queue a)/discard_granularity" "$(queue a)/logical_block_size" | xargs)
ok "$((${n% *} < ${n#* }))" "overlayfs: discards in blocks ($n)"
run_ok 'overlayfs: discard' blkdiscard -f -o 4096 -l 8192 "$a"
gone a

# One on the other: each a little smaller
make_fs ext4 "$DISK"
below=$mnt
for n in 1 2 3 4; do
	truncate -s $((1550 - 300 * n))M "$below/img"
	vd "$n" $(((1550 - 300 * n) << 11)) "file $below/img"
	((n < 4)) || break
	below=$TMP/$n
	mkdir "$below"
	undo=("umount $below" "dmsetup remove $VD$n" "${undo[@]}")
	if ((n % 2)); then mkfs.ext4 -qF "/dev/mapper/$VD$n"; else mkfs.xfs -qf "/dev/mapper/$VD$n"; fi
	mount "/dev/mapper/$VD$n" "$below"
done
verified 'four deep' "${io[@]}" "/dev/mapper/${VD}4"
comment "$(status 1)" "$(status 4)"
gone 4
vd a 65536 "file $below/img len:65536"
mkdir "$TMP/top"
undo=("umount $TMP/top" "${undo[@]}")
mkfs.ext4 -qF "$a"
mount "$a" "$TMP/top"
head -c 3M /dev/urandom >"$TMP/data"
cp "$TMP/data" "$TMP/top/data"
sync -f "$TMP/top"
echo 3 >/proc/sys/vm/drop_caches
run_ok 'a file at the top' cmp "$TMP/data" "$TMP/top/data"
umount "$TMP/top"
gone a
for n in 3 2 1; do
	run_ok "unmount number $n" umount "$TMP/$n"
	gone $n
done

# Combinators above
rm "$mnt"/*
for n in 1 2 3 4; do
	truncate -s 4M "$mnt/$n"
done
vd a 32768 "striped chunk:16 ( file $mnt/1 ) ( file $mnt/2 ) ( file $mnt/3 buffered ) ( file $mnt/4 )"
verified 'striped over four files' "${io[@]}" "$a"
gone a
vd a 16384 "concat ( file $mnt/1 ) ( file $mnt/2 )"
blkdiscard "$a"
verified 'concat of two files' "${io[@]}" "$a"
gone a
if has_config CONFIG_KEYS; then
	key k 64
	vd a 8192 "crypt key:$KEY cipher:aes-xts-plain64 allow_discards ( file $mnt/1 )"
	verified 'crypt over a file' -n 500 -m 128 -f 4 -u 5 --verify "$a"
	gone a
fi
for n in 1 2; do
	rm -f "$mnt/store$n"
	truncate -s 24M "$mnt/store$n"
	mkstore format "$mnt/store$n" --len 8192 >"$TMP/out" 2>&1 || comment "$(<"$TMP/out")"
done
vd a 8192 "overlay ( file $mnt/store1 ) ( file $mnt/1 )"
vd b 8192 "overlay ( file $mnt/store2 ) ( file $mnt/1 )"
for dev in a b; do
	verified "overlay $dev: its store a file, over a base of both" -n 400 -m 64 -f 5 -u 5 -d 3 -z 3 --discard-zeroes --verify "/dev/mapper/$VD$dev"
done
gone a b
run_ok 'unmount' umount "$mnt"
done_testing
