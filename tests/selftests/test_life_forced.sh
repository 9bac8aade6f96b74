#!/bin/bash
# remove --force under load puts dm-error in place: the I/O fails, nothing hangs, the module can go.
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512
null_disk 8 512
for stack in 'ram' "striped chunk:8 $(children 2)" "test mode:work up ( striped chunk:8 $(children 2) )" \
	"test mode:hold ( ram )"; do
	vd a 16384 "$stack"
	vdio -s 9999 /dev/mapper/"${VD}a" >"$TMP/out" 2>&1 &
	pid=$!
	sleep 0.5
	[[ $stack != *hold* ]] || dmsetup message "${VD}a" 0 test release
	timeout 20 dmsetup remove --force "${VD}a" >/dev/null 2>&1
	wait_for 20 sh -c "! kill -0 $pid"
	ok $? "${stack%% (*}: the I/O ends"
	wait "$pid"
	is $? 2 "${stack%% (*}: with an error"
	gone a 2>/dev/null
	run_fails "${stack%% (*}: the device is gone" dmsetup info "${VD}a"
done
run_ok 'the module can go' rmmod dm_vdisk
done_testing
