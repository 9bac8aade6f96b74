#!/bin/bash
# preempt-and-abort: what the victim had on its way has ended when it returns, and an ordinary preempt does not wait.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 4096 discard=1
d=$DISK
null_disk 8 4096 irqmode=2 completion_nsec=7000000000
slow=$DISK
n=$(sectors "$d")
pr() { prioctl "/dev/mapper/$VD$1" "${@:2}"; }
message() { dmsetup message "$VD$1" 0 "${@:2}"; }
held() { [[ $(message b test held) == "$1" ]]; }
# begin STACK: b writes to it, and the write does not end soon
begin() {
	[[ ! $1 ]] || reload b "0 $n vdisk pr domain:d nexus:b ( $1 )"
	pr a register-ignore 0xa >/dev/null
	pr b register-ignore 0xb >/dev/null
	dd if=/dev/zero of="/dev/mapper/${VD}b" bs=4k count=1 oflag=direct status=none 2>"$TMP/write" &
	writer=$!
	sleep 0.4
}
# ends: how the write did
ends() {
	wait "$writer"
	grep -o 'Invalid exchange' "$TMP/write" || echo ok
}
# alive PROCESS...: all of them, which one kill does not tell
alive() {
	local process
	for process; do
		kill -0 "$process" || return
	done
}
# killed: one that waits
killed() {
	dmsetup message "${VD}a" 0 pr preempt-abort 0xa 0xb write-exclusive 2>/dev/null &
	pid=$!
	sleep 0.3
	kill -KILL "$pid"
	! wait "$pid" 2>/dev/null
}
abort() { dmsetup message "${VD}a" 0 pr preempt-abort 0xa 0xb write-exclusive; }

vd a "$n" "pr domain:d nexus:a ( block $d )"
vd b "$n" "pr domain:d nexus:b ( block $d )"
vd c "$n" "pr domain:d nexus:c ( block $d )"

# In a device
begin "block $slow"
start=${EPOCHREALTIME/./}
dmsetup message "${VD}a" 0 pr preempt-abort 0xa 0xb write-exclusive &
pid=$!
sleep 0.3
is "$(message c pr read-keys)" 'generation=3 key=0xa' 'preempt-and-abort has taken effect'
run_ok 'but not returned' kill -0 "$pid"
is "$(pr c register 0 0xc)" ok 'others can call meanwhile'
wait "$pid"
is $? 0 'it returns'
ok "$((${EPOCHREALTIME/./} - start < 600000))" 'when the write has ended'
is "$(ends)" ok 'which was let in before, and is good'
begin ''
is "$(pr a preempt 0xa 0xb 1)" ok 'preempt'
run_ok 'does not wait' kill -0 "$writer"
is "$(ends)" ok 'and the write is good'
begin ''
killed
ok $? 'the wait can be killed'
run_ok 'before the write has ended' kill -0 "$writer"
is "$(message c pr read-keys)" 'generation=10 key=0xa key=0xc' 'it has taken effect all the same'
pr b register 0 0xb >"$TMP/out"
pr a reserve 0xa 1 >"$TMP/out"
killed
ok $? 'the next one waits for it too, and can be killed'
is "$(message c pr read-keys)" 'generation=12 key=0xa key=0xc' 'but not to take effect'
dmsetup message "${VD}a" 0 pr drain 2>/dev/null &
pid=$!
sleep 0.3
timeout 0.3 dmsetup message "${VD}a" 0 pr preempt-abort 0xa 0xc write-exclusive 2>/dev/null
ok "$((! $?))" 'drain waits, and others behind it'
is "$(message a pr read-keys)" 'generation=13 key=0xa' 'whose victims are shut out at once'
run_ok 'a suspend' timeout 5 dmsetup suspend "${VD}a"
wait "$pid"
ok "$((! $?))" 'ends the wait'
dmsetup resume "${VD}a"
run_ok 'the write is still on its way' kill -0 "$writer"
dmsetup message "${VD}a" 0 pr drain &
pid=$!
is "$(ends)" ok 'the write ends'
wait "$pid"
is $? 0 'and only then the next drain'
pr a release 0xa 1 >"$TMP/out"
pr c register 0 0xc >"$TMP/out"
run_ok 'nobody on the way, nobody waits' message a pr preempt-abort 0xa 0xc write-exclusive

# Drain ends nothing that may be sent, and two that wait are both let go by a suspend
begin "test mode:hold ( block $d )"
dmsetup message "${VD}a" 0 pr drain 2>/dev/null &
first=$!
sleep 0.3
run_ok 'drain, with all registered' kill -0 "$writer"
wait "$first"
is $? 0 'waits for nobody'
pr b register 0xb 0 >"$TMP/out"
dmsetup message "${VD}a" 0 pr drain 2>/dev/null &
first=$!
dmsetup message "${VD}c" 0 pr drain 2>/dev/null &
second=$!
sleep 0.4
run_ok 'drain: a stranger may write, and is waited for' alive "$first" "$second" "$writer"
run_ok 'drain: a suspend of one' timeout 5 dmsetup suspend "${VD}a"
run_ok 'drain: and the other' timeout 5 dmsetup suspend "${VD}c"
wait "$first"
ok "$((! $?))" 'drain: it has not waited'
wait "$second"
ok "$((! $?))" 'drain: nor the other'
dmsetup resume "${VD}a"
dmsetup resume "${VD}c"
run_ok 'drain: the write was not ended' held 1
message b test release
is "$(ends)" ok 'drain: and is good'
run_ok 'drain: then it is done' timeout 5 dmsetup message "${VD}a" 0 pr drain

pr b register-ignore 0xb >"$TMP/out"
pr a reserve 0xa 3 >"$TMP/out"
begin "test mode:hold ( block $d )"
is "$(pr a preempt 0xa 0xb 3) $(pr b register-ignore 0xb)" 'ok ok' 'drain: b is preempted, and comes back'
dmsetup message "${VD}a" 0 pr drain 2>/dev/null &
first=$!
sleep 0.4
run_ok 'drain: what b had sent before is waited for' alive "$first" "$writer"
message b test release
is "$(ends)" ok 'drain: it is good'
wait "$first"
is $? 0 'drain: then it is done'
pr a release 0xa 3 >"$TMP/out"

# Held back by a node
for stack in "test mode:hold ( block $d )" "concat ( delay write:60s ( block $d ) )" \
	"striped chunk:8 ( delay write:60s ( test piece:8 ( block $d ) ) ) ( test mode:hold ( block $d len:8192 ) )"; do
	begin "$stack"
	run_ok "${stack%% *}: preempt-and-abort" abort
	is "$(ends)" 'Invalid exchange' "${stack%% *}: what is held back ends as a conflict"
done
is "$(dd if="/dev/mapper/${VD}b" bs=4k count=1 iflag=direct status=none | wc -c)" 4096 'and the victim can read'
begin "test mode:hold ( block $d )"
is "$(pr a preempt 0xa 0xb 1)" ok 'preempt'
run_ok 'leaves what is held back' held 1
message b test release
is "$(ends)" ok 'and that is good'

# What an overlay writes of its own is nobody's: it ends by itself, and the flush that waits for it
null_disk 24 512
mkstore format "$DISK" --len "$n" >"$TMP/out" 2>&1 || comment "$(<"$TMP/out")"
reload b "0 $n vdisk pr domain:d nexus:b ( overlay ( delay write:2s ( block $DISK ) ) ( zero ) )"
pr a register-ignore 0xa >/dev/null
pr b register-ignore 0xb >/dev/null
dd if=/dev/zero of="/dev/mapper/${VD}b" bs=4k count=1 oflag=direct status=none
sync "/dev/mapper/${VD}b" &
flusher=$!
sleep 0.5
is "$(counter b delay 1 held)" 1 'metadata is held back'
run_ok 'preempt-and-abort' timeout 60 dmsetup message "${VD}a" 0 pr preempt-abort 0xa 0xb write-exclusive
wait "$flusher"
is $? 0 'the flush was let in before, and is good'
is "$(counter b overlay 1 store)" ok 'and the store'
run_ok 'all go' gone b a c
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
