#!/bin/bash
# vdisk-fetchd against a server that does wrong: an error in time, or the right bytes once it does right, and never others.
# check: 6.1
# timeout: 300
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/blob.sh
. "$selftests/blob.sh"
# shellcheck source=tests/selftests/fetchd.sh
. "$selftests/fetchd.sh"

load_vdisk
image 2
mode ok
bad_server
url=http://127.0.0.1:8090/img

# At start: what is wrong is said in a line.
bad() { mode "$1"; says 2 "$2" "$url" "${@:3}"; }
bad 200 'no ranges can be had there'
bad 403 'does not let us in (403)'
bad 404 'no such object (404)'
bad 500 'answers 500' --deadline 2s
bad range 'sends the range 512-512 for 0-0'
bad norange 'does not say which range it sends'
bad encoded 'encoded'
bad noetag 'neither an ETag nor a date'
bad close 'cannot be read: ' --deadline 2s
bad garbage 'cannot be read: '
mode noetag
says 0 '"identity":""' "$url" --no-etag
mode "to=$url"
says 2 'cannot be read: Number of redirects hit maximum amount' "$url"
mode 'to=http://127.0.0.1:8090/there'
says 0 '"bytes":2097152' "$url"
says 2 'answers 302' "$url" --max-redirs 0
mode "to=file://$image"
says 2 'cannot be read: ' "$url"

mode ok
says 0 '"bytes":2097152' http://nowhere.invalid/img --proxy http://127.0.0.1:8090

# Credentials: a SAS token that expires, a bearer token out of a command, a signature
mode sas=sig=1
says 2 'does not let us in (403)' "$url"
echo '?sig=1' >"$TMP/sas"
says 0 '"bytes":2097152' "$url" --credentials "$TMP/sas"
mode bearer=T
says 0 '"bytes":2097152' "$url" --credentials-command 'echo "{\"access_token\":\"T\"}"'
says 2 'the command failed' "$url" --credentials-command 'exit 1'
mode sigv4
echo '{"AccessKeyId":"key","SecretAccessKey":"secret"}' >"$TMP/key"
says 0 '"bytes":2097152' "$url" --credentials "$TMP/key" --aws-sigv4 aws:amz:eu-west-1:s3
echo '{"AccessKeyId":"key","SecretAccessKey":"another"}' >"$TMP/key"
says 2 'does not let us in (403)' "$url" --credentials "$TMP/key" --aws-sigv4 aws:amz:eu-west-1:s3

# What is secret is for the origin, and not for whom it redirects to. asked PATH: what was sent there
asked() { awk -v path="$1" '$2 == path { print $(NF - 2) != "-", $(NF - 1), $NF }' "$TMP/requests" | tail -n 1; }
echo '{"AccessKeyId":"key","SecretAccessKey":"secret","SessionToken":"T"}' >"$TMP/key"
secrets=(--header 'X-Secret: S' --credentials "$TMP/key")
mode 'to=http://127.0.0.2:8090/there'
says 0 '"bytes":2097152' "$url" "${secrets[@]}" --aws-sigv4 aws:amz:eu-west-1:s3
is "$(asked /img), $(asked /there)" '1 S T, 0 - -' 'another host: no signature, no header, no token'
mode 'to=/there'
says 0 '"bytes":2097152' "$url" "${secrets[@]}"
is "$(asked /img), $(asked /there)" '1 S T, 1 S T' 'the same host: password, header and token'
says 0 '"bytes":2097152' http://u:p@127.0.0.1:8090/img --header 'X-Secret: S'
is "$(asked /img), $(asked /there)" '1 S -, 1 S -' 'the same host: the password of the URL'

# Later: with a short deadline each is an error of the right kind; with the server mended all is well.
ro a "blob img len:$len"
a=/dev/mapper/${VD}a
one() { dd if="$a" bs=64K count=1 skip="$1" iflag=direct status=none of=/dev/null; }
mode ok
fetchd --deadline 400ms --unit 4K "$url"
declare -i at=0
for how in reset cut short long 200 416 500 404 range moved less norange encoded length etag match weak noetag 403 close garbage; do
	mode "$how"
	at+=1
	run_fails "$how: an error" one "$at"
	mode ok
done
# tried TEXT: a read, and the helper has said this
tried() { one 30; grep -q "$1" "$TMP/fetchd.out"; }
mode etag
wait_for 30 tried 'has changed: its ETag was "one" and is "two"'
ok $? 'a changed ETag: both are named'
mode length
wait_for 30 tried 'has changed: it had 2097152 bytes and has 2097664'
ok $? 'a changed length: both are named'
mode ok
wait_for 30 tried 'is what it was again'
ok $? 'it tells when the origin is back'
stopped
fetchd --unit 4K "$url"
compared 'mended: every byte is right' a -n 10
run_ok 'mended: all of it' same a
stopped

# In the middle of reads, by turns: no error and no wrong byte
mode ok
fetchd --deadline 5m --unit 4K --stall 1s "$url"
reading a -t 4 -n 40
for how in reset 500 ok cut short ok 416 range slow moved ok long 200 garbage ok; do
	mode "$how"
	sleep 0.2
done
mode ok
read_is 0 'by turns: no error, every byte is right'
grep -q ' "one" ' "$TMP/requests"
ok $? 'If-Match has the first ETag'
stopped

# Credentials that expire under load
mode sas=sig=1
echo 'sig=1' >"$TMP/sas"
fetchd --credentials "$TMP/sas" "$url"
reading a -t 2 -n 20
sleep 0.3
mode sas=sig=2
sleep 0.3
echo 'sig=2' >"$TMP/sas"
read_is 0 'SAS token: expired, renewed, no error'
stopped
# S3 says 400 of a session that has ended.
session() { printf '{"AccessKeyId":"key","SecretAccessKey":"secret","SessionToken":"%s"}' "$1" >"$TMP/key"; }
mode session=one
session one
fetchd --credentials "$TMP/key" --aws-sigv4 aws:amz:eu-west-1:s3 "$url"
reading a -t 2 -n 20
sleep 0.3
mode session=two
sleep 0.3
session two
read_is 0 'session token: expired, renewed, no error'
stopped

# Credentials that are refused, of a command that takes its time, are not asked for on and on; on SIGHUP they are.
mode sas=sig=2
fetchd --credentials-command "echo >>$TMP/runs; sleep 1.1; cat $TMP/sas" "$url"
mode sas=sig=3
: >"$TMP/runs"
reading a -t 4 -n 1
sleep 13
runs=$(wc -l <"$TMP/runs")
is "$((runs > 1 && runs < 7))" 1 'credentials that are refused: less and less often'
comment "$runs times"
echo 'sig=3' >"$TMP/sas"
kill -HUP "$helper"
start=$SECONDS
read_is 0 'SIGHUP: others are used at once'
ok "$((SECONDS - start > 4))" 'SIGHUP: without a wait'
stopped

# One connection, and nothing comes over it: the helper sleeps, also if another try is due.
# begun OFFSET: the server was asked for it
begun() { wait_for 20 grep -q "bytes=$1-" "$TMP/requests"; }
mode ok
fetchd --max-connections 1 "$url"
: >"$TMP/requests"
mode hang=65536,503
one 0 &
readers=($!)
begun 0
one 1 &
readers+=($!)
begun 65536
switches() { awk '$1 == "voluntary_ctxt_switches:" { print $2 }' "/proc/$helper/status"; }
before=$(switches)
sleep 4
times=$(($(switches) - before))
is "$((times > 0 && times < 200))" 1 'all connections in use: it sleeps'
comment "it slept $times times"
mode ok
wait "${readers[0]}" && wait "${readers[1]}"
ok $? 'all connections in use, then free: both reads have their bytes'
stopped

# One connection: another try of what is idle waits for a read that came later, and that the kernel still has.
fetchd --max-connections 1 "$url"
: >"$TMP/requests"
mode hang=0,503
ionice -c 3 dd if="$a" bs=64K count=1 skip=16 iflag=direct status=none of=/dev/null &
readers=($!)
begun 1048576
one 0 &
readers+=($!)
begun 0
one 8 &
readers+=($!)
wait_for 20 is_count waiting 3 a
ok $? 'one connection: three reads wait'
sleep 1.5
: >"$TMP/requests"
mode ok
wait "${readers[@]}"
is "$(sed 's/.*bytes=\([0-9]*\).*/\1/' "$TMP/requests" | paste -sd ' ')" '524288 1048576' 'one connection: the most urgent first'
stopped

# A read that joins a prefetch has its own time.
printf 'vdisk-trace 1 img "one"\n65536 65536\n' >"$TMP/trace"
: >"$TMP/requests"
mode hang=65536,ok
fetchd --prefetch "$TMP/trace" --deadline 10s "$url"
begun 65536
sleep 6
one 1 &
reader=$!
sleep 6
mode ok
wait "$reader"
ok $? 'a read of what is being prefetched: until its own deadline'
stopped

# Restarted while its file is away
cp "$image" "$TMP/served"
# Another origin: only for another blob
gone a
ro a "blob img len:$len on_loss:fail helper_timeout:3s"
managed --deadline 60s "file://$TMP/served"
wait_for 30 is_count helpers 1 a
kill -STOP "$(managed_pid)"
reading a -n 1
wait_for 30 is_count waiting 1 a
mv "$TMP/served" "$TMP/away"
kill -9 "$(managed_pid)"
sleep 6
is "$(counter a blob 1 waiting failed)" '1 0' 'restarted, its file is away: the read waits'
mv "$TMP/away" "$TMP/served"
read_is 0 'restarted, its file is back: the right bytes'
kill "$(managed_pid)"
wait "$manager"
gone a
ro a "blob img len:$len"

# Restarted while the origin does not answer: the predecessor's file is used, so that it is not lost.
mode ok
reload_ro a "blob img len:$len on_loss:fail helper_timeout:3s"
managed --deadline 10s --unit 4K "$url"
# unanswered MODE: it asks, and gets no answer
unanswered() { mode "$1" && wait_for 20 grep -q "^$1 " "$TMP/requests"; }
restarted() {
	: >"$TMP/requests"
	unanswered "$1"
	kill -9 "$(managed_pid)"
	: >"$TMP/requests"
	unanswered "$1"
}
mode hang
reading a -n 1
restarted hang
sleep 6
is "$(counter a blob 1 lost waiting)" '0 1' 'restarted, no answer: it is not lost, the read waits'
mode ok
read_is 0 'restarted, an answer: the right bytes'
compared 'restarted: it serves' a -n 5
mode hang
reading a -n 1
restarted hang
read_is 3 'restarted, no answer: the read fails after --deadline'
mode 404
wait_for 20 grep -q 'has no such object' "$TMP/fetchd.out"
ok $? 'restarted, no object: it is said'
mode ok
wait_for 30 serves 3
ok $? 'restarted, no object, and then there is one: it serves'
compared 'restarted: every byte' a -n 5
mode hang
reading a -n 1
restarted hang
mode etag
read_is 3 'restarted, another version: the read fails'
status=0
wait "$manager" || status=$?
is "$status" 3 'restarted, another version: it ends'
gone a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
