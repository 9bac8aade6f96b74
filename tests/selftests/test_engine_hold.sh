#!/bin/bash
# A node that keeps bios: a message lets them go, a flush suspend waits for them, a noflush suspend gives them back to dm,
# and the next table serves them.
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

load_vdisk
a=/dev/mapper/${VD}a
# shellcheck disable=SC2317 # called by wait_for
held() { [[ $(dmsetup message "${VD}a" 0 test held) == "$1" ]]; }
# start DD_ARGUMENT...: a reader or writer that hangs
start() {
	timeout 50 dd bs=4096 count=1 status=none "$@" &
	pid=$!
}
# shellcheck disable=SC2317
ended() { ! kill -0 "$pid" 2>/dev/null; }

vd a 8192 'test mode:hold ( ram label:data )'
start if=/dev/zero of="$a" oflag=direct
run_ok 'a bio is held' wait_for 10 held 1
is "$(counter a test 1 held)" 1 'status tells'
run_ok 'release' dmsetup message "${VD}a" 0 test release
wait "$pid"
is $? 0 'it went on'
run_ok 'and it holds no more' dd if="$a" of=/dev/null bs=4096 count=1 iflag=direct

run_ok 'reload' reload a '0 8192 vdisk test mode:hold ( ram label:data )'
head -c 4096 /dev/zero | tr '\0' q >"$TMP/q"
start if="$TMP/q" of="$a" oflag=direct
run_ok 'a write is held' wait_for 10 held 1
run_fails 'a flush suspend waits for it, and can be interrupted' timeout -s INT 2 dmsetup suspend --nolockfs "${VD}a"
run_ok 'it is still held' held 1
dmsetup load "${VD}a" --table '0 8192 vdisk ram label:data'
run_ok 'a noflush suspend does not wait' timeout 10 dmsetup suspend --noflush --nolockfs "${VD}a"
run_fails 'the write waits in dm' ended
run_ok 'resume with another stack' dmsetup resume "${VD}a"
wait "$pid"
is $? 0 'the write is served by it'
run_ok 'with its data' cmp -n 4096 "$TMP/q" "$a"

run_ok 'reload' reload a '0 8192 vdisk striped chunk:8 drop_volatile ( test mode:hold piece:1 ( ram ) ) ( ram )'
start if="$TMP/q" of="$a" oflag=direct bs=32768
run_ok 'pieces are held' wait_for 10 sh -c "dmsetup status ${VD}a | grep -q held=[1-9]"
run_ok 'a noflush suspend gives them back' timeout 10 dmsetup suspend --noflush --nolockfs "${VD}a"
run_ok 'resume with the same' dmsetup resume "${VD}a"
run_ok 'they are held again' wait_for 10 sh -c "dmsetup status ${VD}a | grep -q held=[1-9]"
dmsetup message "${VD}a" 0 test release
wait "$pid"
is $? 0 'and served'
is "$(counter a ram 1 errors)$(counter a ram 2 errors)" 00 'a requeue is no error'
done_testing
