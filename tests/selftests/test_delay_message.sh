#!/bin/bash
# delay: latencies change at run time, and TABLE shows them; a bad message changes nothing; what waits keeps its deadline.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

load_vdisk
a=/dev/mapper/${VD}a
message() { dmsetup message "${VD}a" 0 "$@"; }
# shellcheck disable=SC2317 # called by wait_for
held() { [[ $(counter a delay 1 held) == "$1" ]]; }
# says MESSAGE WORD...: it is refused, and the kernel log says so
says() {
	local text=$1 marker="message $RANDOM$RANDOM"
	shift
	echo "$marker" >/dev/kmsg
	run_fails "message $*: refused" message "$@"
	dmesg | sed "1,/$marker/d" | grep -qF ": $text"
	ok $? "message $*: says $text"
	is "$(table a)" "$now" "message $*: changes nothing"
}

vd a 8192 'delay read:10us label:d seed:5 ( ram )'
is "$(table a)" 'delay read:10us seed:5 label:d ( ram )' 'as it was loaded'
run_ok 'set a class that was there' message d set read:1ms/2ms@50
run_ok 'set one that was not' message delay set flush:3s
run_ok 'set to nothing' message d set write:0
now='delay read:1000us/2000us@50 write:0us flush:3000000us seed:5 label:d ( ram )'
is "$(table a)" "$now" 'TABLE shows them'
[[ $(status a) == 'delay read:1000us/2000us@50 write:0us flush:3000000us seed:5 label:d '* ]]
ok $? 'and so does the status'

says 'delay: say what it should do' d
says 'delay: understands: set <class>:<latency>' d set
says 'delay: understands: set <class>:<latency>' d set read:1us write:1us
says 'delay: understands: set <class>:<latency>' d get read
classes='delay: set: the classes are read, write, flush, discard'
for word in read seed:1 erase:1us reads:1us label:x :1us; do
	says "$classes" d set "$word"
done
says "delay: read: '' is not a time (us, ms or s)" d set read:
says "delay: read: '5' is not a time (us, ms or s)" d set read:5
says 'delay: write: not in 0..3600000000 us' d set write:3601s
says 'delay: flush: times fall' d set flush:3us/2us@1
says 'delay: discard: percentiles do not rise' d set discard:1us/2us@1/3us@1
dmsetup load "${VD}a" --table "0 8192 vdisk $now"
is "$(dmsetup table --inactive "${VD}a" | cut -d ' ' -f 4-)" "$now" 'what TABLE shows loads again'
dmsetup clear "${VD}a"

# What waits keeps its deadline.
message d set read:3600s
delayio -n 5 -a read "$a" >"$TMP/out" &
pid=$!
wait_for 30 held 5
message d set read:0
run_ok 'others go before what waits' timeout 50 delayio -n 5 read "$a"
held 5
ok $? 'which still waits'
message d set read:3600s
delayio -n 5 -a read "$a" >"$TMP/out2" &
pid2=$!
wait_for 30 held 10
ok $? 'and now others do, too'
dmsetup suspend "${VD}a"
wait "$pid"
is $? 0 'until the suspend'
wait "$pid2"
is $? 0 'until the suspend, these too'
run_ok 'a message while it is suspended' message d set read:20ms
dmsetup resume "${VD}a"
out=$(delayio -n 3 read "$a")
ok "$(($(sed -n 's/min=\([0-9]*\).*/\1/p' <<<"$out") < 20000))" 'and it holds afterwards'

# Messages, status and I/O at the same time; KASAN and lockdep watch in UML.
message d set write:100us/1ms@50
vdio -t 2 -s 9999 "$a" >"$TMP/vdio" 2>&1 &
pid=$!
end=$((SECONDS + 6))
while ((SECONDS < end)); do
	dmsetup table "${VD}a"
	dmsetup status "${VD}a"
done >"$TMP/shown" 2>&1 &
pid2=$!
n=0 failed=0
while ((SECONDS < end)); do
	n=$((n + 1))
	message d set "read:${n}us/$((n + 1))us@1/$((n + 9))ms@99.99" || failed=1
	message d set write:0 || failed=1
done
wait "$pid2"
kill "$pid"
wait "$pid"
is "$? $failed" '0 0' "$((2 * n)) messages under I/O and status"
is "$(sed 's/.*vdisk //; s/^\(delay read:\)[0-9]*us\(\/[0-9]*us@1\/[0-9]*us@99.99\)\{0,1\} write:[^ ]* flush:3000000us seed:5 label:d .*/\1/' "$TMP/shown" |
	sort -u)" 'delay read:' 'every line shown is whole'
comment "$(wc -l <"$TMP/shown") lines"
gone a
done_testing
