#!/bin/bash
# Which keys crypt takes and which it refuses, its messages, and that a key is told nowhere.
# check: 6.12
# vm: --mem 1900M
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_CRYPT CONFIG_KEYS CONFIG_ENCRYPTED_KEYS
load_vdisk
# The options of vm make a guest of its own: only one policy can be loaded everywhere.
ima=/sys/kernel/security/ima
echo 'measure func=CRITICAL_DATA label=device-mapper template=ima-buf' >$ima/policy 2>/dev/null && ima_works=1
busybox uevent sh -c "env >>$TMP/uevents" &
listener=$!
undo=("kill $listener")
modprobe -q encrypted-keys
null_disk 8 512
null_disk 8 4096
disk=${disks[0]} a=/dev/mapper/${VD}a

# refuses WORD NAME STACK [SECTORS]: the load fails and the message is about this word of the crypt node
refuses() {
	local said
	echo "crypt: $$ $2" >/dev/kmsg
	if dmsetup load "$VD$scratch" --table "0 ${4:-4096} vdisk $3" >/dev/null 2>&1; then
		ok 1 "refused: $2"
		comment "it loads: $3"
		return
	fi
	said=$(dmesg | awk -v from="crypt: $$ $2" 'index($0, from) { on = 1; next } on && / vdisk: /')
	[[ $said == *"crypt: $1"* ]]
	ok $? "refused: $2"
	comment "${said##*vdisk: }"
}

# hex NAME: a key of ours in hex
hex() { od -An -v -tx1 "$TMP/key-$1" | tr -d ' \n'; }

scratch
key good 64
good=$KEY
crypt="crypt cipher:aes-xts-plain64"
child="( block $disk )"
refuses key 'a hex key' "$crypt key:$(hex good) $child"
refuses key 'no key' "$crypt $child"
refuses key 'an empty key' "$crypt key: $child"
refuses key 'a dash, which is dm-crypt without a key' "$crypt key:- $child"
refuses key 'no such key' "$crypt key::64:logon:vdisk:$$-none $child"
refuses key 'no description' "$crypt key::64:logon: $child"
refuses key 'no description at all' "$crypt key::64:logon $child"
refuses key 'no size' "$crypt key:::logon:vdisk:$$-good $child"
refuses key 'a type that has no keys for disks' "$crypt key::64:keyring:_uid.0 $child"
refuses key 'no type' "$crypt key::64::vdisk:$$-good $child"
for size in 0 1 16 24 33 48 63 65 128 -64 0x40 64x 18446744073709551680; do
	refuses key "a size of $size" "$crypt key::$size:logon:vdisk:$$-good $child"
done
refuses key 'shorter than the key in the keyring' "$crypt key::32:logon:vdisk:$$-good $child"
key short 32
refuses key 'longer than the key in the keyring' "$crypt key::64:logon:vdisk:$$-short $child"
for size in 32 64; do
	head -c "$((size / 2))" /dev/urandom >"$TMP/half"
	cat "$TMP/half" "$TMP/half" >"$TMP/key-halves"
	key_from halves "$size"
	refuses key "equal halves of $size bytes" "$crypt key:$KEY $child"
	unlink_key halves
done
key gone 64
unlink_key gone
refuses key 'a key that is gone' "$crypt key:$KEY $child"
key revoked 64
keyctl revoke "$(<"$TMP/serial-revoked")"
refuses key 'a revoked key' "$crypt key:$KEY $child"
key expired 64
keyctl timeout "$(<"$TMP/serial-expired")" 1
sleep 2
refuses key 'an expired key' "$crypt key:$KEY $child"
key user 64 user
refuses key 'of another type than it says' "$crypt key::64:logon:vdisk:$$-user $child"
refuses key 'twice' "$crypt key:$good key:$good $child"
refuses cipher 'no cipher' "crypt key:$good $child"
for cipher in aes-xts-plain aes-cbc-essiv:sha256 serpent-xts-plain64 capi:xts\(aes\)-plain64 aes aes-xts-plain640; do
	refuses cipher "cipher $cipher" "crypt cipher:$cipher key:$good $child"
done
for size in 0 256 513 768 8192 1K; do
	refuses sector_size "sectors of $size" "$crypt key:$good sector_size:$size $child"
done
refuses iv_offset 'an offset that is too large' "$crypt key:$good iv_offset:99999999999999999999 $child"
refuses iv_offset 'an offset that is no number' "$crypt key:$good iv_offset:-8 $child"
refuses iv_offset 'an offset in the middle of a sector' "$crypt key:$good sector_size:4096 iv_offset:4 $child"
refuses length 'a length that is no multiple of the sectors' "$crypt key:$good sector_size:4096 $child" 4092
dmsetup remove "$VD$scratch"

# The same bytes as dm-crypt with keys of every type, in any order of words
head -c 2M /dev/urandom >"$TMP/data"
master=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
keyctl add user "$VD-master" "$master" @u >/dev/null
keyctl add encrypted "vdisk:$$-encrypted" "new user:$VD-master 64" @u >/dev/null
key logon 64 logon
for type in logon user encrypted; do
	KEY=":64:$type:vdisk:$$-$type"
	run_ok "$type: loads" vd a 4096 "crypt key:$KEY sector_size:1024 iv_offset:2 cipher:aes-xts-plain64 label:x $child"
	crypt_dm s 4096 "$disk 0" 2 sector_size:1024
	dd if="$TMP/data" of="$a" bs=64k oflag=direct status=none
	run_ok "$type: dm-crypt reads it" cmp "$TMP/data" "/dev/mapper/${VD}s"
	[[ $(table a) == *"key:$KEY"* ]]
	ok $? "$type: the table has the reference"
	run_ok "$type: which loads" reload a "$(dmsetup table "${VD}a")"
	gone a s
done
if has_config CONFIG_TRUSTED_KEYS && modprobe -q trusted && keyctl add trusted "vdisk:$$-trusted" 'new 64' @u >/dev/null 2>&1; then
	KEY=":64:trusted:vdisk:$$-trusted"
	run_ok 'trusted: loads' vd a 4096 "$crypt key:$KEY $child"
	crypt_dm s 4096 "$disk 0" 0
	dd if="$TMP/data" of="$a" bs=64k oflag=direct status=none
	run_ok 'trusted: dm-crypt reads it' cmp "$TMP/data" "/dev/mapper/${VD}s"
	gone a s
else
	skip 'trusted keys' 'CONFIG_TRUSTED_KEYS, and something like a TPM'
fi
# A description may have colons and, written as dmsetup wants it, a blank.
cp "$TMP/key-good" "$TMP/key-a:b::c"
key_from a:b::c 64
run_ok 'a description with colons' vd a 4096 "$crypt key:$KEY $child"
[[ $(table a) == *"key:$KEY"* ]]
ok $? 'is in the table as it was'
gone a

# Out of the keyring: the device and its reloads go on, others cannot have it.
key leaves 64
leaves=$KEY
vd a 4096 "$crypt key:$leaves $child"
dd if="$TMP/data" of="$a" bs=64k oflag=direct status=none
unlink_key leaves
run_ok 'the device goes on' cmp "$TMP/data" "$a"
run_ok 'a reload with the same reference' reload a "0 4096 vdisk $crypt key:$leaves allow_discards $child"
blockdev --flushbufs "$a"
run_ok 'has the same bytes' cmp "$TMP/data" "$a"
run_fails 'another device is refused' vd b 4096 "$crypt key:$leaves ( block ${disks[1]} )"

# Messages
message() { dmsetup message "${VD}a" 0 crypt key "$@"; }
read_a() { dd if="$a" bs=64k iflag=direct status=none | sha256sum; }
wait_for 10 dmsetup suspend "${VD}a"
dmsetup resume "${VD}a"
want=$(sha256sum <"$TMP/data")
key_from leaves 64
key other 64
other=$KEY
key short2 32
short=$KEY
run_fails 'wipe while it is live' message wipe
run_fails 'set while it is live' message set "$leaves"
is "$(read_a)" "$want" 'and nothing has changed'
dmsetup suspend "${VD}a"
run_fails 'set: a key that is not there' message set ":64:logon:vdisk:$$-none"
run_fails 'set: another size' message set "$short"
run_fails 'set: in hex' message set "$(hex leaves)"
run_fails 'set: nothing' message set
run_fails 'wipe: too many words' message wipe all
run_fails 'no such verb' message drop
run_ok 'set: the same key' message set "$leaves"
dmsetup resume "${VD}a"
is "$(read_a)" "$want" 'set: the same bytes'
dmsetup suspend "${VD}a"
run_ok 'wipe' message wipe
run_ok 'wipe, again' message wipe
# As with dm-crypt it may refuse to resume; if not, all I/O is an error.
before=$(sha256sum <"$disk")
if dmsetup resume "${VD}a" >/dev/null 2>&1; then
	run_fails 'wiped: reads fail' dd if="$a" of=/dev/null bs=4k count=1 iflag=direct
	run_fails 'wiped: writes fail' dd if=/dev/zero of="$a" bs=4k count=1 oflag=direct
	comment 'it resumes'
	dmsetup suspend "${VD}a"
else
	is "$(dmsetup info -c --noheadings -o suspended "${VD}a")" Suspended 'wiped: it does not resume'
fi
blockdev --flushbufs "$disk"
is "$(sha256sum <"$disk")" "$before" 'wiped: nothing reaches the disk'
run_ok 'set: another key' message set "$other"
run_ok 'resume' dmsetup resume "${VD}a"
got=$(read_a)
[[ $got != "$want" && $got != "$(head -c 2M "$disk" | sha256sum)" ]]
ok $? 'another key: neither the data nor what is on the disk'
dmsetup suspend "${VD}a"
run_ok 'set: the first key' message set "$leaves"
dmsetup resume "${VD}a"
is "$(read_a)" "$want" 'the first key: the data is back'
gone a

# A reload instead of a message
vd a 4096 "$crypt key:$leaves $child"
dmsetup suspend "${VD}a"
run_ok 'wipe before a reload' message wipe
run_ok 'a table with the key' dmsetup load "${VD}a" --table "0 4096 vdisk $crypt key:$leaves $child"
run_ok 'resume' dmsetup resume "${VD}a"
is "$(read_a)" "$want" 'has it'

# A table that is loaded when the key is wiped has lost it too, and takes a new one
run_ok 'a table before the wipe' dmsetup load "${VD}a" --table "0 4096 vdisk $crypt key:$leaves $child"
dmsetup suspend "${VD}a"
run_ok 'wipe' message wipe
run_fails 'the loaded table does not resume' dmsetup resume "${VD}a"
run_ok 'but takes the key' message set "$leaves"
run_ok 'and resumes' dmsetup resume "${VD}a"
is "$(read_a)" "$want" 'with the same bytes'

gone a
# While a table goes live, nodes above read their stores through it.
held() { [[ $(dmsetup message "${VD}a" 0 test held) == 1 ]]; }
vd a 2048 "$crypt key:$leaves ( block ${disks[1]} )"
put "$a" '\0' 1048576
gone a
vd a 4096 "pr domain:$$ nexus:a ( ram ) ( $crypt key:$leaves ( test mode:hold ( block ${disks[1]} ) ) )" &
resumes=$!
wait_for 20 held
run_fails 'wipe while a store is read' timeout 20 dmsetup message "${VD}a" 0 crypt key wipe
while kill -0 "$resumes" 2>/dev/null; do
	dmsetup message "${VD}a" 0 test release
	sleep 0.1
done
wait "$resumes"
status a | grep -q ' key=set '
ok $? 'it keeps its key'
gone a
# Of two, with keys of their own, the second one is ready when the first refuses: it goes on to take keys.
vd a 4096 "concat ( $crypt key:$leaves label:first ( block $disk len:2048 ) ) ( $crypt key:$other label:second ( block $disk start:2048 len:2048 ) )"
dmsetup suspend "${VD}a"
dmsetup message "${VD}a" 0 first key wipe
run_fails 'the first of two has lost its key' dmsetup resume "${VD}a"
run_ok 'the second takes one' dmsetup message "${VD}a" 0 second key set "$other"
run_ok 'and the first' dmsetup message "${VD}a" 0 first key set "$leaves"
run_ok 'both go live' dmsetup resume "${VD}a"
gone a
vd a 4096 "$crypt key:$leaves $child"

# Nobody tells: searched for the first 8 bytes of every half, in hex and as they are
{
	dmsetup table "${VD}a"
	dmsetup table --showkeys "${VD}a"
	dmsetup status "${VD}a"
	dmsetup ls --tree
	dmsetup deps
	dmesg
	cat /proc/keys /proc/crypto
	grep -rs '' "/sys/block/$(dmsetup info -c --noheadings -o blkdevname "${VD}a")/"
} >"$TMP/told" 2>&1
if [[ ${ima_works-} ]]; then
	awk '/device-mapper|dm_/ { print $NF }' $ima/ascii_runtime_measurements | while read -r line; do
		perl -ne 'print pack "H*", $_' <<<"$line"
		echo
	done >"$TMP/ima"
	grep -q 'crypt cipher:aes-xts-plain64' "$TMP/ima"
	ok $? 'IMA has measured the stack'
	cat "$TMP/ima" >>"$TMP/told"
else
	skip 'IMA' CONFIG_IMA_WRITE_POLICY
fi
ok "$(($(wc -c <"$TMP/uevents") == 0))" 'there were uevents'
cat "$TMP/uevents" >>"$TMP/told"
found=''
for name in good leaves other logon short2; do
	for at in 0 16 32; do
		piece=$(tail -c +"$((at + 1))" "$TMP/key-$name" | head -c 8 | od -An -v -tx1 | tr -d ' \n')
		[[ $piece ]] || continue
		! grep -aqi "$piece" "$TMP/told" || found+=" $name in hex;"
		! od -An -v -tx1 "$TMP/told" | tr -d ' \n' | grep -q "$piece" || found+=" $name as it is;"
	done
done
# The hex key of the first check was in a line that dm core or we might have printed.
is "$found" '' 'no key anywhere'
grep -q "$leaves" "$TMP/told"
ok $? 'but its reference'
gone a
done_testing
