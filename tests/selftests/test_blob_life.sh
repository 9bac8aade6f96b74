#!/bin/bash
# blob: helpers that die, stop, are replaced or may not; disks that are suspended, reloaded and removed while reads wait.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.1
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/blob.sh
. "$selftests/blob.sh"

load_vdisk
image 4
a=/dev/mapper/${VD}a
waits() { is_count waiting "$1" a; }

# Killed under load, again and again: with a new file each time, then with a file that is inherited.
ro a "blob img len:$len"
for how in 'new files' 'an inherited file'; do
	options=() first=
	if [[ $how == an* ]]; then
		exec {fd}<>/dev/vdisk
		options=(--fd "$fd") first=1
	fi
	before=$(counter a blob 1 again)
	reading a -t 4 -n "${VDISK_OPS:-1500}"
	for ((i = 0; i < ${VDISK_ROUNDS:-8}; i++)); do
		resume=()
		[[ ${#options[@]} == 0 || $first ]] || resume=(--resume)
		first=''
		helper -t 2 --delay 5 "${options[@]}" "${resume[@]}" img
		sleep 0.3
		dead
	done
	resume=()
	is "$(($(counter a blob 1 again) > before))" 1 "kill -9, $how: requests were handed out again"
	kill -0 "$reader"
	ok $? "kill -9, $how: reads wait"
	[[ ${#options[@]} == 0 ]] || resume=(--resume)
	helper -t 2 "${options[@]}" "${resume[@]}" img
	read_is 0 "kill -9, $how: every byte is right, no error"
	dead
done
exec {fd}>&-

# on_loss:fail: without a helper at once, and when it goes
reload_ro a "blob img len:$len on_loss:fail"
run_ok 'on_loss:fail: no helper, no wait' timeout 20 blobd --check -n 20 --errors "$a" "$image"
is "$(blobd --check -n 20 --errors "$a" "$image")" 'errors=20' 'on_loss:fail: all fail'
helper --stop-after 3 img
reading a -n 3
wait_for 20 is_count held 1 a
ok $? 'on_loss:fail: a read waits for a helper that is there'
dead
read_is 3 'on_loss:fail: it fails when the helper dies'
grep -q 'Link has been severed' "$TMP/reader"
ok $? 'on_loss:fail: with ENOLINK'
helper img
compared 'on_loss:fail: a new helper serves' a -n 50
dead

# on_loss:<time>
reload_ro a "blob img len:$len on_loss:1500ms"
start=${EPOCHREALTIME/./}
run_fails 'on_loss:1500ms: a read fails' blobd --check -n 1 "$a" "$image"
us=$((${EPOCHREALTIME/./} - start))
is "$((us > 1400000))" 1 'on_loss:1500ms: not before'
comment "after $us us"
reload_ro a "blob img len:$len on_loss:60s"
reading a -n 50
wait_for 20 waits 1
helper img
read_is 0 'on_loss:60s: a helper that comes in time is in time'
dead

# A helper that sleeps in read() while it is declared lost is there all the same.
reload_ro a "blob img len:$len on_loss:fail helper_timeout:1s"
helper --depth 1 --forget 1 img
reading a -n 1
read_is 3 'asleep: a read that is never answered fails'
wait_for 20 is_count lost 0 a
ok $? 'asleep: the helper is found'
compared 'asleep: it serves' a -n 20
dead

# A helper that is stopped is lost, and its late answers are refused.
reload_ro a "blob img len:$len on_loss:fail helper_timeout:10s"
helper -b 1 --delay 500 img
reading a -n 100
wait_for 20 is_count held 1 a
events=$(dmsetup info -c --noheadings -o events "${VD}a")
kill -STOP "$helper"
dmsetup wait "${VD}a" "$events" &
event=$!
read_is 3 'SIGSTOP: the read fails after the timeout'
is "$(counter a blob 1 lost held waiting)" '1 0 0' 'SIGSTOP: the helper is lost'
timeout 20 tail --pid="$event" -s 0.05 -f /dev/null
ok $? 'SIGSTOP: an event tells it'
refused=$(counter a blob 1 refused)
kill -CONT "$helper"
wait_for 20 is_count lost 0 a
ok $? 'SIGCONT: it is there again'
wait_for 20 is_count refused "$((refused + 1))" a
ok $? 'SIGCONT: its late answer is refused'
compared 'SIGCONT: it serves' a -n 5 -t 1
kill -STOP "$helper"
stopped=$helper
reload_ro a "blob img len:$len helper_timeout:1s"
reading a -n 20
helper -t 2 img
read_is 0 'SIGSTOP: another helper takes over'
kill -9 "$stopped"
dead

# The message, and suspends. Nothing of it waits for a helper.
reload_ro a "blob img len:$len"
blocked() {
	reading a -t 4 -n "${1:-1}"
	wait_for 30 waits 4
	ok $? "${2-$name}: 4 reads wait"
}
name='message fail'
blocked
run_ok "$name" timeout 20 dmsetup message "${VD}a" 0 blob fail
read_is 3 "$name: they fail"
blocked 1 "$name, while a helper has them"
helper --stop-after 1 img
wait_for 20 is_count held 4 a || wait_for 1 is_count held 1 a
dmsetup message "${VD}a" 0 blob fail
read_is 3 "$name: also those that a helper has"
dead
run_fails "$name: no other" dmsetup message "${VD}a" 0 blob go
name='suspend'
blocked 20
run_fails "$name: waits, and can be interrupted" timeout -s INT 2 dmsetup suspend --nolockfs "${VD}a"
is "$(counter a blob 1 waiting)" 4 "$name: given up, they wait"
run_ok "$name --noflush: does not wait" timeout 20 dmsetup suspend --noflush --nolockfs "${VD}a"
is "$(counter a blob 1 waiting)" 0 "$name --noflush: dm has them"
dmsetup resume "${VD}a"
wait_for 20 waits 4
ok $? "$name --noflush: the resume brings them back"
dmsetup load "${VD}a" --readonly --table "0 $len vdisk blob img len:$len on_loss:10s"
run_ok 'reload --noflush: does not wait' timeout 20 dmsetup suspend --noflush --nolockfs "${VD}a"
dmsetup resume "${VD}a"
wait_for 20 waits 4
ok $? 'reload --noflush: they wait in the new table'
null_disk 4 512
dd if="$image" of="$DISK" bs=1M oflag=direct status=none
dmsetup load "${VD}a" --readonly --table "0 $len vdisk block $DISK"
run_ok 'repair: a reload with another base' timeout 20 dmsetup suspend --noflush --nolockfs "${VD}a"
dmsetup resume "${VD}a"
read_is 0 'repair: they get their bytes from it'
gone a

# Below a cache: with a block's fill end all that wait for it
kept='cache volatile fill:64 read_ahead:0 ( ram )'
readers() {
	local i
	pids=()
	for i in 0 1 2; do
		dd if="$a" of=/dev/null bs=4096 skip="$i" count=1 iflag=direct status=none 2>/dev/null &
		pids+=($!)
	done
	wait_for 30 is_count waiting 1 a
	sleep 1
}
# readers_fail NAME
readers_fail() {
	local pid failed=0
	timeout 60 tail "${pids[@]/#/--pid=}" -s 0.05 -f /dev/null
	for pid in "${pids[@]}"; do
		wait "$pid" || failed=$((failed + 1))
	done
	is "$failed $(counter a blob 1 failed)" '3 1' "$1"
}
ro a "$kept ( blob img len:$len )"
readers
dmsetup message "${VD}a" 0 blob fail
readers_fail 'below a cache: message fail: once is enough'
gone a
ro a "$kept ( blob img len:$len on_loss:3s )"
readers
readers_fail 'below a cache: on_loss: they wait once'
gone a
# Hydration waits for a helper, whatever on_loss: says.
ro a "$kept ( blob img len:$len on_loss:fail )"
dmsetup message "${VD}a" 0 cache hydrate start
more_than() { (($(counter a blob 1 failed) > $1)); }
wait_for 30 more_than 0
failed=$(counter a blob 1 failed)
wait_for 30 more_than "$failed"
is "$(counter a cache 1 hydrate)" on 'hydration without a helper: tries now and then'
helper img
is_hydrated() { [[ $(counter a cache 1 hydrate) == 'done' ]]; }
wait_for 100 is_hydrated
ok $? 'hydration without a helper: goes on when there is one'
compared 'hydration without a helper: all is right' a -n 20
dead
gone a
# A read does not wait behind the sixteen that hydration asks for. The helper stands still until the read is in the queue.
ro a "$kept ( blob img len:$len )"
helper --delay 1000 -b 1 --max 32768 img
dmsetup message "${VD}a" 0 cache hydrate start
wait_for 30 is_count waiting 16 a
ok $? 'hydration: sixteen fills at a time'
kill -STOP "$helper"
dd if="$a" of="$TMP/read" bs=4096 skip=$((100 * 8)) count=1 iflag=direct status=none &
reader=$!
wait_for 30 is_count waiting 17 a
before=$(counter a blob 1 requests)
kill -CONT "$helper"
timeout 60 tail --pid="$reader" -s 0.05 -f /dev/null
passed=$(($(counter a blob 1 requests) - before))
ok $((passed >= 12)) "a read passes hydration: $passed requests"
run_ok 'a read passes hydration: its bytes' cmp "$TMP/read" <(tail -c +$((100 * 32768 + 1)) "$image" | head -c 4096)
dead
gone a

# Another disk's reservations: what waits here is not theirs to end.
ro a "blob img len:$len on_loss:wait"
vd p "$len" "pr domain:d nexus:p ( overlay volatile ( ram ) ( blob img len:$len ) )"
vd q 8 'pr domain:d nexus:q ( ram )'
blocked 1 'preempt-abort of another disk'
dmsetup message "${VD}p" 0 pr register-ignore 0xa
dmsetup message "${VD}q" 0 pr register-ignore 0xb
dmsetup message "${VD}p" 0 pr reserve 0xa write-exclusive-reg-only
run_ok 'preempt-abort of another disk' dmsetup message "${VD}q" 0 pr preempt-abort 0xb 0xa write-exclusive-reg-only
is "$(counter a blob 1 waiting failed errors)" '4 0 0' 'preempt-abort of another disk: reads of this one wait on'
helper img
read_is 0 'preempt-abort of another disk: and get their bytes'
dead
gone a p q

# A failed read is one error
ro a "blob img len:$len on_loss:fail"
blobd --check -n 7 --errors "$a" "$image" >/dev/null
is "$(counter a blob 1 errors)" 7 'seven failed reads are seven errors'
gone a

# Who may attach, and to what
ro a "blob img len:$len uid:1234"
says() { blobd "${@:2}" "$image" 2>&1 | grep -q "VDISK_ATTACH: $1"; }
says 'Operation not permitted' --uid 1233 img
ok $? 'uid: another one is refused'
helper --uid 1234 --identity '"etag-1"' img
compared 'uid: the right one serves' a -n 20
says 'Device or resource busy' img
ok $? 'uid: no two at a time, not even root'
dead
says 'Stale file handle' --identity '"etag-2"' img
ok $? 'identity: another one is refused'
says 'Numerical result out of range' --length $((len * 512 - 512)) img
ok $? 'length: too short is refused'
scratch
mapfile -t words < <(printf '%s\n' "blob img len:$((len - 8)) uid:1234" "blob img len:$len uid:1235")
for i in 0 1; do
	! printf '0 8 vdisk %s\n' "${words[i]}" | dmsetup load --readonly "$VD$scratch" >/dev/null 2>&1
	ok $? "another table has to agree: ${words[i]}"
done
# Two disks of one blob
dmsetup create "${VD}b" --readonly --table "0 $len vdisk blob img len:$len uid:1234"
helper --identity '"etag-1"' -t 2 img
compared 'two disks of one blob: a' a -n 50
compared 'two disks of one blob: b' b -n 50
gone b
compared 'two disks of one blob: one goes' a -n 50
gone a
timeout 20 tail --pid="$helper" -s 0.05 -f /dev/null
ok $? 'with the last table the helper is told'

# A helper that comes first waits for the name.
helper_first() {
	exec {pipe}< <(exec blobd img "$image" 2>&1)
	helper=$!
	ro a "blob img len:$len"
	local line
	read -r -t 30 -u "$pipe" line
	is "$line" attached 'a helper waits for a name'
}
helper_first
compared 'a helper that came first serves' a -n 20

# Removed while it is suspended with reads in it; forced, with reads that wait
dead
blocked 1 'removal'
run_ok 'removal: forced, after noflush, it does not wait' timeout 60 bash -c "dmsetup suspend --noflush --nolockfs ${VD}a &&
	dmsetup load ${VD}a --readonly --table '0 $len error' && dmsetup resume ${VD}a"
read_is 3 'removal: they fail'
gone a
gone "$scratch"
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
