#!/bin/bash
# delay: a suspend of any kind, a reload and a removal let go at once of what waits, and nothing waits until the resume.
# timeout: 600
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

load_vdisk
a=/dev/mapper/${VD}a
stack='delay read:3600s write:3600s ( ram label:data )'
# shellcheck disable=SC2317 # called by wait_for
held() { [[ $(counter a delay 1 held) == "$1" ]]; }
# Readers that would wait for an hour
start() {
	timeout 100 delayio -n "$1" -a read "$a" >"$TMP/out" 2>&1 &
	pid=$!
	wait_for 30 held "$1"
	ok $? "$2: $1 are held"
}
ended() {
	wait "$pid"
	is $? 0 "$1: they end well, and in time"
	is "$(sed -n 's/.*\(inversions=.*\)/\1/p' "$TMP/out")" 'inversions=0 error=none' "$1: in order"
}

vd a 8192 "$stack"
for how in '' --noflush --nolockfs '--noflush --nolockfs'; do
	name="suspend $how"
	start 40 "$name"
	# shellcheck disable=SC2086
	run_ok "$name: does not wait" timeout 60 dmsetup suspend $how "${VD}a"
	ended "$name"
	held 0
	ok $? "$name: nothing is held"
	# dm keeps this one until the resume
	timeout 100 delayio read "$a" >"$TMP/out" 2>&1 &
	pid=$!
	sleep 0.5
	kill -0 "$pid"
	ok $? "$name: what comes meanwhile waits in dm"
	dmsetup resume "${VD}a"
	wait_for 30 held 1
	ok $? "$name: after the resume it is held"
	dmsetup suspend "${VD}a"
	ended "$name, again"
	dmsetup resume "${VD}a"
done

start 40 'reload'
run_ok 'reload: does not wait' timeout 60 bash -c "dmsetup load ${VD}a --table '0 8192 vdisk ram label:data' &&
	dmsetup suspend ${VD}a && dmsetup resume ${VD}a"
ended 'reload'
reload a "0 8192 vdisk $stack"

start 40 'removal'
run_ok 'removal: forced, it does not wait' timeout 60 dmsetup remove --force --retry "${VD}a"
wait "$pid"
comment "$(<"$TMP/out")"
grep -q 'failed=0 inversions=0' "$TMP/out"
ok $? 'removal: what was held was served'
run_fails 'removal: the device is gone' dmsetup info "${VD}a"

# A suspend that is given up: what is below a delay never ends, so dm waits and is interrupted.
vd a 8192 'delay read:3600s ( test mode:hold ( ram ) )'
start 3 'given up'
run_fails 'given up: a flush suspend waits for the child' timeout -s INT 3 dmsetup suspend --nolockfs "${VD}a"
is "$(counter a delay 1 held) $(counter a test 1 held)" '0 3' 'given up: what was held went on'
dmsetup message "${VD}a" 0 test release
ended 'given up'
start 2 'given up: what comes then waits again'
dmsetup suspend "${VD}a"
ended 'given up, then suspended'
dmsetup resume "${VD}a"
gone a

# Deep: drained from the root down
vd a 8192 'delay read:3600s ( striped chunk:8 ( delay read:3600s ( ram ) ) ( delay read:3600s ( concat ( delay read:3600s ( ram ) ) ) ) )'
start 32 'nested'
run_ok 'nested: does not wait' timeout 60 dmsetup suspend "${VD}a"
wait "$pid"
is $? 0 'nested: they end well'
dmsetup resume "${VD}a"
gone a

# Never resumed, and removed while suspended
dmsetup create "${VD}a" --notable
dmsetup load "${VD}a" --table "0 8192 vdisk $stack"
gone a
vd a 8192 "$stack"
dmsetup suspend "${VD}a"
gone a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
