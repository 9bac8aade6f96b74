#!/bin/bash
# vdisk-fetchd against nginx: every byte, a server that is away, restarts, another user, traces, VHD, rate, files.
# check: 7.3
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/blob.sh
. "$selftests/blob.sh"
# shellcheck source=tests/selftests/fetchd.sh
. "$selftests/fetchd.sh"

run_ok 'unit tests' fetchd-unit
load_vdisk
image 8
origin_nginx 127.0.0.1
cp "$image" "$TMP/www/img"
url=http://127.0.0.1:8080/img

# What is wrong is said before anybody depends on it.
says 0 "\"sectors\":$len" "$url"
says 2 'no such object (404)' http://127.0.0.1:8080/none
says 2 'no ranges can be had there' http://127.0.0.1:8081/img
says 2 "Couldn't connect" http://127.0.0.1:1/img --deadline 2s
says 2 'no footer of a VHD' "$url" --vhd1
says 1 'no such kind of origin' ftp://127.0.0.1/img
says 1 'not a value for this option: --unit' "$url" --unit 1
says 0 '"identity":"file:' "file://$TMP/www/img"
says 2 "certificate" https://127.0.0.1:8443/img
says 0 "\"sectors\":$len" https://127.0.0.1:8443/img --cacert "$TMP/cert"
says 0 "\"sectors\":$len" https://127.0.0.1:8443/over --cacert "$TMP/cert"
says 2 'cannot be read: Unsupported protocol' https://127.0.0.1:8443/down --cacert "$TMP/cert"
: >"$TMP/nginx/access.log"
vdisk-fetchd --name img --header 'X-Secret: secret' --proxy u:secret@127.0.0.1:1 "http://u:secret@127.0.0.1/img?sig=secret" \
	>"$TMP/out" 2>&1 &
undo+=("kill -9 $!")
wait_for 20 grep -qF '?*' "/proc/$!/cmdline"
! grep -q secret "/proc/$!/cmdline"
ok $? 'what is secret in the arguments is not in ps'
kill $!

# All of it, in any order; then without anybody
ro a "cache volatile ( ram ) ( blob img len:$len )"
fetchd --metrics "$TMP/metrics" "$url"
compared 'random reads through a cache' a -n "${VDISK_OPS:-60}"
run_ok 'every byte' same a
is "$(awk '$1 != 206' "$TMP/nginx/access.log")" '' 'nginx was asked for ranges, and gave them'
connections=$(awk '$1 == 206 { print $3 }' "$TMP/nginx/access.log" | sort -u | wc -l)
ok "$((connections > 20))" 'connections are used again'
comment "$connections connections, $(wc -l <"$TMP/nginx/access.log") requests"
stopped
grep -q '^vdisk_fetchd_attached{blob="img"} 1$' "$TMP/metrics"
ok $? '--metrics FILE'
: >"$TMP/nginx/access.log"
nginx_stop
run_ok 'from the cache, without helper and server' same a
gone a

# HTTP/2
nginx_start
ro a "blob img len:$len"
fetchd --cacert "$TMP/cert" https://127.0.0.1:8443/img
compared 'HTTP/2 and TLS' a -n 10
grep -q '^206 .*HTTP/2.0$' "$TMP/nginx/access.log"
ok $? 'it was HTTP/2'
stopped

# A server that is away, and comes back
fetchd --metrics "unix:$TMP/metrics.sock" "$url"
nginx_stop
reading a -t 4 -n 5
sleep 1
kill -0 "$reader"
ok $? 'server away: reads wait'
nginx_start
read_is 0 'server back: every byte is right'
curl -s --unix-socket "$TMP/metrics.sock" http://x/metrics >"$TMP/metrics"
awk '/^vdisk_fetchd_origin_retries_total/ { found = $2 > 0 } END { exit !found }' "$TMP/metrics"
ok $? '--metrics unix: tells that it was tried again'
! grep -q metrics "$TMP/fetchd.out"
ok $? '--metrics unix: no warning'

# It stops, and goes on.
kill -STOP "$helper"
reading a -n 3
sleep 0.3
kill -CONT "$helper"
read_is 0 'SIGSTOP, SIGCONT: every byte is right'
stopped

# Killed under load: with a new file each time, then with the files that a manager keeps
kills=${VDISK_KILLS:-4}
under_reads
for ((i = 0; i < kills; i++)); do
	fetchd "$url"
	sleep 1
	dead
done
fetchd "$url"
enough
read_is 0 "kill -9, new files, $kills times: every byte is right, no error"
stopped
reload_ro a "blob img len:$len on_loss:fail"
managed "$url"
serves 1
ok $? 'fd store: attached'
grep -qx 'READY=1' "$TMP/store.out"
ok $? 'it tells that it is ready'
under_reads
for ((i = 1; i <= kills; i++)); do
	sleep 1
	wait_for 30 serves "$i"
	kill -9 "$(managed_pid)"
done
wait_for 30 serves "$((kills + 1))"
ok $? 'fd store: attached again, each time'
enough
read_is 0 "kill -9, fd store, on_loss:fail, $kills times: every byte is right, no error"
is "$(awk '$1 == "started" { last = $3 } END { print (last > 0) }' "$TMP/store.out")" 1 'it got the file back'
is "$(grep -c '^started' "$TMP/store.out")" "$((kills + 1))" 'it was started each time'
kill "$(managed_pid)"
wait "$manager"
ok $? 'SIGTERM: exit status 0'

# A helper that is stopped is lost after its timeout.
reload_ro a "blob img len:$len on_loss:fail helper_timeout:5s"
fetchd "$url"
compared 'it shows itself in time' a -n 3
sleep 6
is "$(counter a blob 1 lost)" 0 'it is not lost while it waits'
kill -STOP "$helper"
reading a -n 20
read_is 3 'SIGSTOP: reads fail after helper_timeout'
kill -CONT "$helper"
wait_for 20 is_count lost 0 a
# On a slow machine it may be late once more.
wait_for 60 timeout 60 blobd --check -n 5 "/dev/mapper/${VD}a" "$image"
ok $? 'SIGCONT: it serves'
stopped

# Another user, a table that comes later, and goes
gone a
fetchd_early() {
	setpriv --reuid 1234 --regid 1234 --clear-groups vdisk-fetchd --name img --once "$url" >"$TMP/fetchd.out" 2>&1 &
	helper=$!
	undo+=("kill -9 $helper")
}
fetchd_early
sleep 0.5
ro a "blob img len:$len uid:1234"
wait_for 20 grep -q 'serves img' "$TMP/fetchd.out"
ok $? 'a helper of another user that came first'
compared 'it serves' a -n 10
gone a
status=0
timeout 20 tail --pid="$helper" -s 0.05 -f /dev/null
wait "$helper" || status=$?
is "$status" 0 '--once: the table goes, it ends'
ro a "blob img len:$len uid:1235"
status=0
timeout 20 setpriv --reuid 1234 --regid 1234 --clear-groups vdisk-fetchd --name img "$url" 2>"$TMP/out" || status=$?
is "$status $(grep -c 'this user is not the uid: of the table' "$TMP/out")" '4 1' 'another user is refused'
gone a

# Too short, and another version than the one that is pinned
ro a "blob img len:$((len + 8))"
status=0
timeout 20 vdisk-fetchd --name img "$url" 2>"$TMP/out" || status=$?
is "$status $(grep -c 'len: is more than the origin has' "$TMP/out")" '4 1' 'an origin that is too short is refused'
gone a
ro a "blob img len:$len"
fetchd --deadline 2s "$url"
compared 'before a change' a -n 2
was=$(sed -n 's/.*bytes, //p' "$TMP/fetchd.out")
cp "$image" "$TMP/www/img.new"
touch -d '2001-01-01' "$TMP/www/img.new"
mv "$TMP/www/img.new" "$TMP/www/img"
run_fails 'nginx, a changed ETag: an error' timeout 30 blobd --check -n 1 /dev/mapper/"${VD}a" "$image"
grep -q "has changed: its ETag was $was and is \"3a" "$TMP/fetchd.out"
ok $? 'nginx, a changed ETag: both are named'
comment "$(tail -n 1 "$TMP/fetchd.out")"
stopped
status=0
timeout 20 vdisk-fetchd --name img "$url" 2>"$TMP/out" || status=$?
is "$status" 3 'a restart with a changed origin is refused'
comment "$(<"$TMP/out")"
gone a

# What was read first is there first the next time.
ro a "blob img len:$len"
fetchd --trace "$TMP/trace" "$url"
for at in 99 7 55 120 12; do
	dd if="/dev/mapper/${VD}a" bs=64K skip="$at" count=1 iflag=direct status=none of=/dev/null
done
stopped
gone a
is "$(awk 'NR > 1 { print $1 / 65536 }' "$TMP/trace" | uniq | paste -sd ' ')" '99 7 55 120 12' '--trace: the order of first accesses'
ro a "blob img len:$len"
fetchd --prefetch "$TMP/trace" --metrics "unix:$TMP/metrics.sock" "$url"
prefetched() { curl -s --unix-socket "$TMP/metrics.sock" http://x/ | awk -v key="vdisk_fetchd_$1" 'index($1, key) == 1 { print $2 }'; }
all_prefetched() { (($(prefetched prefetched_bytes_total) == 5 * 65536)); }
wait_for 20 all_prefetched
ok $? '--prefetch: it is fetched, and no more'
nginx_stop
for at in 7 99 12; do
	cmp <(dd if="/dev/mapper/${VD}a" bs=64K skip="$at" count=1 iflag=direct status=none) <(dd if="$image" bs=64K skip="$at" count=1 status=none)
	ok $? "--prefetch: $at is there without a server"
done
is "$(prefetched prefetch_hit_bytes_total)" $((3 * 65536)) '--prefetch: and was from what was prefetched'
nginx_start
compared '--prefetch: and the rest' a -n 10
stopped
gone a

# A restart goes on with the trace, also with one that was being written when it was killed.
ro a "blob img len:$len"
managed --gap 1000 --trace "$TMP/trace" --prefetch "$TMP/trace" "$url"
first() { dd if="/dev/mapper/${VD}a" bs=64K skip="$1" count=1 iflag=direct status=none of=/dev/null; }
has_lines() { (($(wc -l <"$TMP/trace") == $1)); }
first 99
first 7
wait_for 20 has_lines 3
kill -9 "$(managed_pid)"
printf '655' >>"$TMP/trace"
wait_for 30 serves 2
for at in 7 55 99; do
	first "$at"
done
kill "$(managed_pid)"
wait "$manager"
is "$(sed -n '1 ! s/ 65536$//p' "$TMP/trace" | paste -sd ' ')" "$((99 << 16)) $((7 << 16)) $((55 << 16))" '--trace: a restart goes on'
gone a
ro a "blob img len:$len"
fetchd --trace "$TMP/trace" "$url"
first 3
stopped
gone a
is "$(awk 'NR > 1 { print $1 / 65536 }' "$TMP/trace")" 3 '--trace: another start begins anew'

# It does not end for a trace or metrics that cannot be written.
for metrics in "$TMP/none/metrics" "unix:$TMP/none/socket"; do
	ro a "blob img len:$len"
	fetchd --trace "$TMP/none/trace" --metrics "$metrics" "$url"
	for option in "--trace $TMP/none/trace" "--metrics $metrics"; do
		wait_for 20 grep -q -- "$option: No such file or directory; going on without: name" "$TMP/fetchd.out"
		ok $? "a warning: $option"
	done
	compared 'it serves' a -n 5
	stopped
	gone a
done

# A fixed VHD: the disk in it
head -c 4M "$image" >"$TMP/raw"
qemu-img convert -O vpc -o subformat=fixed,force_size=on "$TMP/raw" "$TMP/www/vhd"
says 0 '"disk_bytes":4194304' http://127.0.0.1:8080/vhd --vhd1
len=8193 ro a 'blob img len:8193'
status=0
timeout 20 vdisk-fetchd --name img --vhd1 http://127.0.0.1:8080/vhd 2>"$TMP/out" || status=$?
is "$status" 4 '--vhd1: the footer is not of the disk'
gone a
len=8192 ro a 'blob img len:8192'
fetchd --vhd1 http://127.0.0.1:8080/vhd
cmp <(dd if="/dev/mapper/${VD}a" bs=1M iflag=direct status=none) "$TMP/raw"
ok $? '--vhd1: every byte of the disk'
stopped
gone a

# A rate
ro a "blob img len:$len"
fetchd --rate 1M --max-request 64K "$url"
start=${EPOCHREALTIME/./}
dd if="/dev/mapper/${VD}a" bs=64K count=32 iflag=direct status=none of=/dev/null
us=$((${EPOCHREALTIME/./} - start))
is "$((us > 1500000))" 1 '--rate: 2 MiB take 2 s'
comment "$us us"
stopped

# A file
gone a
ro a "blob img len:$len"
cp "$image" "$TMP/file"
fetchd "file://$TMP/file"
run_ok 'file://: every byte' same a
compared 'file://: random reads' a -n 30
touch "$TMP/file"
run_fails 'file://: a change is an error' blobd --check -n 1 "/dev/mapper/${VD}a" "$image"
stopped
gone a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
