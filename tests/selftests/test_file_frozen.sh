#!/bin/bash
# file: writes to a frozen file system wait, and fail neither then nor later; reads go on; a noflush suspend gets them back, a
# flush suspend can be given up; nothing is lost.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_EXT4_FS
load_vdisk
null_disk 400 512 discard=1
a=/dev/mapper/${VD}a img=$mnt/img

for fs in ext4 xfs; do
	has_config "CONFIG_${fs^^}_FS" || { skip "$fs" "CONFIG_${fs^^}_FS" && continue; }
	make_fs $fs "$DISK"
	undo=("fsfreeze -u $mnt" "${undo[@]}")
	truncate -s 16M "$img"
	vd a 32768 "file $img"
	dd if=/dev/urandom of="$TMP/data" bs=64k count=16 status=none
	run_ok "$fs: freeze" fsfreeze -f "$mnt"
	dd if="$TMP/data" of="$a" bs=64k oflag=direct conv=notrunc status=none &
	writer=$!
	sleep 1
	kill -0 $writer
	ok $? "$fs: a write waits"
	run_ok "$fs: reads do not" timeout 20 dd if="$a" of=/dev/null bs=1M count=4 iflag=direct
	# The block layer lets nobody read meanwhile.
	blkdiscard -o 8M -l 1M "$a" &
	discarder=$!
	sleep 0.5
	kill -0 $discarder
	ok $? "$fs: so does a discard"
	run_ok "$fs: a noflush suspend" timeout 20 dmsetup suspend --noflush --nolockfs "${VD}a"
	run_ok "$fs: has them back" timeout 20 dmsetup load "${VD}a" --table "0 32768 vdisk concat ( file $img )"
	run_ok "$fs: the next table" timeout 20 dmsetup resume "${VD}a"
	sleep 0.5
	kill -0 $writer && kill -0 $discarder
	ok $? "$fs: has them too, and they wait"
	timeout -s INT 2 dmsetup suspend --nolockfs "${VD}a"
	is $? 124 "$fs: a suspend waits for them, and can be interrupted"
	run_ok "$fs: thaw" timeout 20 fsfreeze -u "$mnt"
	timeout 20 tail --pid=$writer -f /dev/null
	wait $writer
	is $? 0 "$fs: the write is done"
	timeout 20 tail --pid=$discarder -f /dev/null
	wait $discarder
	is $? 0 "$fs: and the discard"
	run_ok "$fs: what was written" cmp -n 1048576 "$a" "$TMP/data"

	# An overlay's own writes to its store: a noflush suspend gets them back as well, and that is no failure of the store
	truncate -s 24M "$mnt/store"
	mkstore format "$mnt/store" --len 8192 >"$TMP/out" 2>&1 || comment "$(<"$TMP/out")"
	vd o 8192 "overlay ( file $mnt/store ) ( zero )"
	dd if="$TMP/data" of="/dev/mapper/${VD}o" bs=64k oflag=direct conv=notrunc status=none
	fsfreeze -f "$mnt"
	sync "/dev/mapper/${VD}o" &
	flusher=$!
	sleep 1
	kill -0 $flusher
	ok $? "$fs: overlay: a flush waits"
	run_ok "$fs: overlay: a noflush suspend" timeout 20 dmsetup suspend --noflush --nolockfs "${VD}o"
	is "$(counter o overlay 1 store)" ok "$fs: overlay: the store is none the worse"
	fsfreeze -u "$mnt"
	run_ok "$fs: overlay: resume" timeout 20 dmsetup resume "${VD}o"
	timeout 20 tail --pid=$flusher -f /dev/null
	wait $flusher
	is $? 0 "$fs: overlay: the flush is done"
	gone o
	vd o 8192 "overlay ( file $mnt/store ) ( zero )"
	run_ok "$fs: overlay: and was one" cmp -n 1048576 "/dev/mapper/${VD}o" "$TMP/data"
	gone o

	# Under load, by the lower and the upper end
	vdio -s 4 -d 3 -z 3 -f 5 -u 5 --verify "$a" >"$TMP/out" 2>&1 &
	pid=$!
	for _ in 1 2 3 4 5; do
		fsfreeze -f "$mnt"
		sleep 0.3
		timeout 20 dmsetup suspend --noflush --nolockfs "${VD}a"
		fsfreeze -u "$mnt"
		timeout 20 dmsetup resume "${VD}a"
		sleep 0.2
	done
	wait $pid
	is $? 0 "$fs: freezes under load"
	comment "$(<"$TMP/out")" "$(status a)"
	gone a
	run_ok "$fs: unmount" umount "$mnt"
	wipefs -qa "$DISK"
done
done_testing
