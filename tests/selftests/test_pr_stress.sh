#!/bin/bash
# Random reservation calls from three nexuses while all of them read and write: nothing forbidden reaches the disk.
# VDISK_PR_SECONDS for more of it.
# kernels: 6.1 6.12 7.3 uml-6.12
# timeout: 600
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 4096
n=$(sectors "$DISK")
# Some writes reach the disk late: a preempt-and-abort that waits for nobody would be found out.
for nexus in a b c; do
	vd "$nexus" "$n" "pr domain:s nexus:$nexus ( delay write:0/2ms@70 ( block $DISK ) )"
done
out=$(prstress "${VDISK_PR_SECONDS:-10}" "${VDISK_PR_SEED:-0}" "$DISK" "${VD}a" "${VD}b" "${VD}c" 2>&1)
is $? 0 'the model agrees'
comment "$out"

# The same with reloads, suspends and removals: only that nothing hangs or breaks.
round() {
	local name
	for name in a b c; do
		case $((($1 + RANDOM) % 4)) in
		0) reload "$name" "0 $n vdisk pr domain:s nexus:$name ( block $DISK )" ;;
		1) reload "$name" "0 $n vdisk pr domain:s nexus:$name ( delay write:1ms ( block $DISK ) )" --noflush ;;
		2) dmsetup suspend "$VD$name" && dmsetup resume "$VD$name" ;;
		esac
	done
}
calls() {
	local name
	while :; do
		name=$((RANDOM % 3))
		name=${letters[name]}
		prioctl "/dev/mapper/$VD$name" register-ignore 0x1
		prioctl "/dev/mapper/$VD$name" reserve 0x1 $((RANDOM % 6 + 1))
		dmsetup message "$VD$name" 0 pr preempt-abort 0x1 0x1 write-exclusive-reg-only
		prioctl "/dev/mapper/$VD$name" clear 0x1
	done
}
letters=(a b c)
calls >/dev/null 2>&1 &
pid=$!
failed=0
for ((i = 0; i < rounds; i++)); do
	for name in a b c; do
		timeout 5 dd if=/dev/zero of="/dev/mapper/$VD$name" bs=64k count=20 oflag=direct status=none 2>/dev/null &
	done
	round "$i" || failed=1
done
is "$failed" 0 "$rounds rounds of reloads and suspends under calls and I/O"
kill "$pid"
wait
gone b
gone a c
wait_for 10 rmmod dm_vdisk
ok $? "nothing holds the module"
done_testing
