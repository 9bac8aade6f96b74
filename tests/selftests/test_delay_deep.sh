#!/bin/bash
# delay: 100000 bios wait at once, in memory that dm has for each of them anyway; they end in order, and the memory returns.
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 64 512 memory_backed=0
a=/dev/mapper/${VD}a
n=${VDISK_DEEP:-100000}
echo "$((2 * n))" >/proc/sys/fs/aio-max-nr
# shellcheck disable=SC2317 # called by wait_for
held() { [[ $(counter a delay 1 held) == "$1" ]]; }
available() { awk '/^(MemFree|Cached|Buffers|SReclaimable):/ { kib += $2 } END { print kib }' /proc/meminfo; }
# start ARGUMENT...: all of them are held
start() {
	delayio -n "$n" -b 4096 -a "$@" "$a" >"$TMP/out" 2>&1 &
	pid=$!
	wait_for 120 held "$n"
	ok $? "$n are held"
}
result() { sed -n 's/.*failed=/failed=/p' "$TMP/out"; }

before=$(available)
vd a 131072 "delay write:3600s ( block $DISK )"
start write
comment "KiB in use: $((before - $(available)))"
run_ok 'the machine lives' dd if=/dev/zero of="$TMP/x" bs=1M count=16
SECONDS=0
run_ok 'a suspend drains them' timeout 120 dmsetup suspend "${VD}a"
wait "$pid"
is $? 0 'all end well'
comment "drained in $SECONDS s: $(<"$TMP/out")"
is "$(result | grep -o 'failed=[0-9]*')" 'failed=0' 'none failed'
is "$(counter a delay 1 held) $(counter a block 1 writes)" "0 $n" 'each went down once'
dmsetup resume "${VD}a"
before=$(available)

# Once more, by the timer; memory takes them as they come, so they end in the order of their deadlines.
reload a '0 131072 vdisk delay read:40s ( ram max:131072 )'
start read
wait "$pid"
is $? 0 'by the timer: all end well'
is "$(result)" 'failed=0 inversions=0 error=none' 'by the timer: in order'
min=$(sed -n 's/min=\([0-9]*\).*/\1/p' "$TMP/out")
ok "$((min < 40000000))" 'by the timer: none early'
comment "$(<"$TMP/out")"

# Slab caches keep some of it, so: not as much as one of these rounds took, 40 MB at least.
reload a '0 131072 vdisk zero drop_volatile'
echo 3 >/proc/sys/vm/drop_caches
sleep 1
after=$(available)
ok "$((before - after > 20000))" "memory returns: $before KiB, then $after KiB"
done_testing
