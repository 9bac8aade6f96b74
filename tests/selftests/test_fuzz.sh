#!/bin/bash
# Random valid lines print what they have to, and that loads again; mutated ones load or do not, and harm nothing.
# VDISK_FUZZ_VALID, VDISK_FUZZ_MUTATED and VDISK_FUZZ_SECONDS (0: no limit) for more, VDISK_FUZZ_SEED for the same again.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: uml-6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 64 512 memory_backed=0
null_disk 64 4096 memory_backed=0
test=${0##*/}
echo clear >/sys/kernel/debug/kmemleak 2>/dev/null
valid=${VDISK_FUZZ_VALID:-2000} mutated=${VDISK_FUZZ_MUTATED:-20000} limit=${VDISK_FUZZ_SECONDS:-40}
batch=2000 seed=${VDISK_FUZZ_SEED:-0} end=$((SECONDS + limit)) done_valid=0 done_mutated=0

# Refusals would fill the console, and the log: it is looked at after every batch, before its beginning is lost.
dmesg -n 3
undo=('dmesg -n 7')
while ((done_valid < valid || done_mutated < mutated)) &&
	((!limit || SECONDS < end || done_valid < 100 || done_mutated < 1000)); do
	# Seconds for this batch: half of them for valid lines
	left=$((limit ? end - SECONDS : 0))
	((!limit || left >= 10)) || left=10
	((done_valid < valid)) && lines=$((valid - done_valid > batch ? batch : valid - done_valid)) || lines=0
	((done_mutated < mutated)) && more=$batch || more=0
	out=$(dmfuzz "$lines" "$more" "$left" "$seed" "${disks[@]}" 2>&1)
	status=$?
	comment "$out"
	((status == 0)) || break
	seed=$((seed ? seed + 1 : 0))
	done_valid=$((done_valid + $(sed -n 's/dmfuzz: \([0-9]*\) valid.*/\1/p' <<<"$out")))
	done_mutated=$((done_mutated + $(sed -n 's/dmfuzz: \([0-9]*\) mutated.*/\1/p' <<<"$out")))
	dmesg | awk -f "$selftests/../lib/klog.awk" || { status=99 && break; }
	echo "vm: test $test" >/dev/kmsg
done
is "$status" 0 "$done_valid valid and $done_mutated mutated lines"
ok "$((done_valid < (limit ? 100 : valid) || done_mutated < (limit ? 1000 : mutated)))" 'as many as were asked for, or as many as time allowed'
run_ok 'nothing holds the module' rmmod dm_vdisk
nothing_leaked
done_testing
