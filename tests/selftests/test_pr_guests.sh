#!/bin/bash
# Two guests of QEMU share a disk, each with a nexus of its own: the host shuts out one of them, and lets it in again.
# kernels: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512
n=$(sectors "$DISK")
dd if="$(command -v prguest)" of="$DISK" conv=fsync status=none
message() { dmsetup message "$VD$1" 0 pr "${@:2}"; }
guests=()
for nexus in a b; do
	vd "$nexus" "$n" "pr domain:d nexus:$nexus ( block $DISK )"
	qemu-system-x86_64 -nodefaults -no-user-config -display none -accel tcg -m 16 -serial "file:$TMP/$nexus" \
		-drive "file=/dev/mapper/$VD$nexus,format=raw,if=ide,cache=none,werror=report" &
	undo=("kill $!" "${undo[@]}")
	guests+=("$!")
done
# says NAME N REGEX: what the guest said behind its first N letters
# shellcheck disable=SC2317 # called by wait_for
says() { tail -c "+$(($2 + 1))" "$TMP/$1" 2>/dev/null | grep -qxE "$3"; }
said() { stat -c %s "$TMP/$1"; }

wait_for 60 says a 0 'W{3,}' && wait_for 60 says b 0 'W{3,}'
ok $? 'both guests write'
message a register 0 0xa && message b register 0 0xb && message a reserve 0xa write-exclusive-reg-only
ok $? 'they are registered, and one has reserved'
from=$(said b)
wait_for 30 says b "$from" 'W{3,}'
ok $? 'both may write'
message a preempt-abort 0xa 0xb write-exclusive-reg-only
from=$(said b)
wait_for 30 says b "$from" 'W?E{3,}'
ok $? 'b is preempted: its writes fail, but for what it had not said yet'
from=$(said a)
wait_for 30 says a "$from" 'W{3,}'
ok $? 'those of a do not'
is "$(counter b pr 1 preempted) $(($(counter b pr 1 conflicts) >= 3)) $(counter a pr 1 conflicts)" '1 1 0' 'the counters say so'
message b register 0 0xb
from=$(said b)
wait_for 30 says b "$from" 'E?W{3,}'
ok $? 'b is let in again'
kill "${guests[@]}"
wait "${guests[@]}"
run_ok 'and all goes' gone a b
done_testing
