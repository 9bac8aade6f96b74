#!/bin/bash
# A leaf that changed its size raises a dm event within some seconds, and the disk can then grow.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_BLK_DEV_LOOP
load_vdisk
null_disk 16 512
truncate -s 4M "$TMP/file"
modprobe loop
loop=$(losetup --find --show "$TMP/file")
undo=("losetup -d $loop")
dm leaf "0 8192 linear $DISK 0"

for stack in "concat ( block /dev/mapper/${VD}leaf ) ( block $loop )" "test ( block /dev/mapper/${VD}leaf )"; do
	vd a 8192 "$stack"
	n=$(events)
	sleep 6
	is "$(events)" "$n" "${stack%% (*}: no event without a change"
	timeout 20 dmsetup wait "${VD}a" "$n" &
	pid=$!
	reload leaf "0 $((8192 + 2048)) linear $DISK 0"
	wait "$pid"
	is $? 0 "${stack%% (*}: a leaf that grew raises an event"
	gone a
	reload leaf "0 8192 linear $DISK 0"
done

vd a 8192 "block $loop"
n=$(events)
truncate -s 8M "$TMP/file"
losetup -c "$loop"
run_ok 'a loop device that grew raises an event' timeout 20 dmsetup wait "${VD}a" "$n"
run_ok 'and the disk grows' reload a "0 16384 vdisk block $loop"
is "$(sectors "/dev/mapper/${VD}a")" 16384 'to its new size'
verified 'and works' -n 200 --verify "/dev/mapper/${VD}a"
run_ok 'shrinks' reload a "0 4096 vdisk block $loop"
is "$(sectors "/dev/mapper/${VD}a")" 4096 'to a smaller size'
gone a leaf
done_testing
