#!/bin/bash
# blob: a store that has bytes of one version of an object, or hides them, takes none of another, whatever came in between: a
# suspend, a new table, other disks, a loss of power.
# timeout: 300
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/blob.sh
. "$selftests/blob.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
image 2
old=$image new=$TMP/new
head -c "$((len * 512))" /dev/urandom >"$new"
a=/dev/mapper/${VD}a
blob="blob img len:$len"
null_disk 8 512
null_disk 8 512
store=${disks[0]} other=${disks[1]}

# all NAME STACK: a disk of $len sectors
all() { vd "$1" "$len" "$2"; }
# serves ETAG|'' IMAGE: a helper that states it, or nothing
serves() {
	image=$2
	helper ${1:+--identity "$1"} img
}
# stale ETAG|'' NAME
stale() {
	local said
	said=$(timeout 60 blobd ${1:+--identity "$1"} img "$new" 2>&1)
	is "${said##*: }" 'Stale file handle' "$2"
}
# some BYTES OFFSET NAME: they are the old ones
some() {
	run_ok "$3" cmp -n "$1" <(dd if="$a" bs=4096 iflag=direct,skip_bytes skip="$2" count="$(($1 / 4096))" status=none) \
		<(tail -c +"$(($2 + 1))" "$old")
}
fields() { vdisk dump --json "$1" | jq -c '[.superblocks[] | select(.counts).fields | .incompat, (.pins | length)]'; }
is_empty() { [[ $(vdisk check --json "$1" | jq .units.data) == 0 ]]; }
format() { mkstore format "$1" --len "$len" --force; }

for stack in cache overlay; do
	make=ro readonly=--readonly line="cache ( block $store ) ( $blob )"
	[[ $stack == cache ]] || make=all readonly='' line="overlay copy_on_read ( block $store ) ( $blob )"
	name=$stack
	format "$store"
	$make a "$line"
	serves '"1"' "$old"
	some 65536 0 "$name: the first version"
	gone a
	dead

	$make a "$line"
	stale '"2"' "$name: another version is refused"
	stale '' "$name: and a helper that does not say which it has"
	some 65536 0 "$name: what is there needs none"
	serves '"1"' "$old"
	some 65536 1048576 "$name: the first one goes on"
	dead
	gone a

	# It attaches while the table is loaded: then the store finds it.
	dmsetup create "${VD}a" --notable
	# shellcheck disable=SC2086 # a word or none
	dmsetup load "${VD}a" $readonly --table "0 $len vdisk $line"
	serves '"2"' "$new"
	run_fails "$name: a helper with another version keeps it from going live" dmsetup resume "${VD}a"
	dmesg | grep -q "store: has another version of blob 'img'"
	ok $? "$name: the log says why"
	dead
	gone a
done

# Several blobs; what a store hides counts as what it has. A new store takes any.
line="overlay ( block $store ) ( concat ( blob one len:1024 ) ( blob two len:$((len - 1024)) ) )"
format "$store"
all a "$line"
dd if=/dev/urandom of="$a" bs=4096 count=1 oflag=direct status=none
sync "$a"
head -c 524288 "$old" >"$TMP/head"
tail -c +524289 "$old" >"$TMP/tail"
image=$TMP/tail
helper --identity '"t"' two
some 65536 1048576 'two blobs: the second one'
dd if=/dev/urandom of="$a" bs=4096 count=1 seek=1 oflag=direct status=none
dead
gone a
all a "$line"
image=$TMP/head
helper --identity '"h"' one
some 65536 8192 'two blobs: the first may still be any'
dead
image=$TMP/tail
is "$(timeout 60 blobd --identity '"u"' two "$image" 2>&1 | sed 's/.*: //')" 'Stale file handle' 'two blobs: the second may not'
gone a
# By name, wherever it is
all a "overlay ( block $store ) ( concat ( block ${disks[1]} len:1024 ) ( blob two len:$((len - 1024)) ) )"
is "$(timeout 60 blobd --identity '"u"' two "$image" 2>&1 | sed 's/.*: //')" 'Stale file handle' 'two blobs: nor without the first'
helper --identity '"t"' two
some 65536 1048576 'two blobs: the one that it had'
dead
gone a
format "$store"
all a "$line"
helper --identity '"u"' two
some 65536 1048576 'two blobs: a new store takes any'
dead
gone a
words=$(printf ' ( blob b%s len:64 )' {1..9})
run_fails 'nine blobs below a store' vd a $((9 * 64)) "overlay ( block $store ) ( concat$words )"
dmesg | grep -q 'base: more than 8 blobs'
ok $? 'nine blobs: the error says so'
# A helper that does not say what it has is there first: the store cannot believe it.
format "$store"
ro a "cache ( block $store ) ( $blob )"
serves '"1"' "$old"
some 65536 0 'a helper that says nothing: a store that knows'
dead
gone a
dmsetup create "${VD}a" --notable
dmsetup load "${VD}a" --readonly --table "0 $len vdisk cache ( block $store ) ( $blob )"
serves '' "$new"
run_fails 'a helper that says nothing: it does not go live' dmsetup resume "${VD}a"
dead
# A mistake that has had no consequences is over with the helper.
serves '"2"' "$new"
run_fails 'a mistake: it does not go live' dmsetup resume "${VD}a"
dead
serves '"1"' "$old"
run_ok 'a mistake: it does with the right one' dmsetup resume "${VD}a"
some 65536 65536 'a mistake: all is well'
dead
gone a
run_ok 'the same bytes by another name' vdisk repair --unpin "$store"
is "$(fields "$store")" '[0,0]' 'it knows of no version'
ro a "cache ( block $store ) ( $blob )"
serves '"2"' "$old"
some 65536 131072 'and takes the next'
dead
gone a
is "$(fields "$store")" '[2,1]' 'which it keeps'
# States that do not change, of what was written before anybody had said what the base is
format "$store"
all a "overlay ( block $store ) ( $blob )"
put "$a" x 4096
sync "$a"
serves '"1"' "$old"
put "$a" y 4096
sync "$a"
dead
gone a
is "$(fields "$store")" '[2,1]' 'written anew: over a version that is known'
# Two targets: what the second refuses, the first has not pinned.
format "$store"
format "$other"
ro a "cache ( block $store ) ( $blob )"
serves '"1"' "$old"
some 65536 0 'refused by another: a store that knows'
dead
gone a
dmsetup create "${VD}b" --readonly --table "0 $len vdisk $blob"
run_fails 'refused by another' ro a "concat ( cache ( block $store ) ( $blob len:2048 ) ) ( cache ( block ${disks[0]} start:12000 ) ( zero ) )"
gone a
serves '"2"' "$new"
run_ok 'refused by another: nothing is left of it' cmp -n 4096 "/dev/mapper/${VD}b" "$new"
dead
gone b
# A store that has all needs no base, so none is pinned.
format "$store"
ro a "cache ( block $store ) ( $blob )"
serves '"1"' "$old"
dmsetup message "${VD}a" 0 cache hydrate start
is_hydrated() { [[ $(counter a cache 1 hydrate) == 'done' ]]; }
wait_for 100 is_hydrated
ok $? 'hydrated'
dead
gone a
is "$(fields "$store")" '[2,1]' 'hydrated: the version is known'
ro a "cache ( block $store ) ( zero )"
gone a
is "$(fields "$store")" '[0,0]' 'detached: it is forgotten'

# Damage to one superblock does not bring back a time when the store knew of no version, or of another blob's only.
for slot in 0 1; do
	format "$store"
	ro a "cache ( block $store ) ( $blob )"
	serves '"1"' "$old"
	some 65536 0 "superblock $slot: a store that knows"
	dead
	gone a
	put "$store" x 512 seek=$((slot * 8))
	is "$(fields "$store")" '[2,1]' "superblock $slot is damaged: the version is known"
	ro a "cache ( block $store ) ( $blob )"
	stale '"2"' "superblock $slot is damaged: another version is refused"
	gone a
done

# Two disks share a blob: the one that knows its version decides for both.
format "$store"
format "$other"
ro a "cache ( block $store ) ( $blob )"
serves '"1"' "$old"
some 65536 0 'two disks: a'
dead
gone a
ro b "cache ( block $other ) ( $blob )"
serves '"2"' "$new"
dd if="/dev/mapper/${VD}b" of=/dev/null bs=4096 count=1 iflag=direct status=none
run_fails 'two disks: b has another version' ro a "cache ( block $store ) ( $blob )"
dead
gone b
ro a "cache ( block $store ) ( $blob )"
stale '"2"' 'two disks: now a decides'
run_fails 'two disks: b would be wrong' ro b "cache ( block $other ) ( $blob )"
gone a

# Power is cut while the store is filled: where anything is present, it is right, and of a version that is known.
if [[ ${VDISK_CONFIG-} ]] && grep -q '^CONFIG_DM_LOG_WRITES=' "$VDISK_CONFIG"; then
	null_disk 64 512
	null_disk 8 512
	null_disk 8 512
	log=${disks[2]} replayed=${disks[3]} cut=${disks[4]}
	format "$store"
	dd if="$store" of="$replayed" bs=1M oflag=direct status=none
	dm s "0 16384 log-writes $store $log"
	ro a "cache fill:8 ( block /dev/mapper/${VD}s ) ( $blob )"
	serves '"1"' "$old"
	for ((i = 0; i < 24; i++)); do
		some 16384 $((RANDOM % 120 * 16384)) "cut: read $i"
		((i % 6)) || dmsetup suspend "${VD}a"
		dmsetup resume "${VD}a"
	done
	gone a s
	dead
	next=0 present=0 unknown=0 pinned=''
	until [[ $pinned ]]; do
		last=$next
		read -r next _ < <(logreplay "$log" "$replayed" "$last" "#$((last + 1))")
		((next > last)) || break
		[[ $(fields "$replayed") != '[0,0]' ]] && pinned=$next
		[[ $pinned ]] || is_empty "$replayed" || unknown=$((unknown + 1))
	done
	is "${pinned:+known},$unknown" known,0 "cut: the version is known before anything is present"
	for ((i = 0; i < 12; i++)); do
		last=$next
		read -r next _ < <(logreplay "$log" "$replayed" "$last" "#$((last + 1 + RANDOM % 12))")
		((next > last)) || break
		dd if="$replayed" of="$cut" bs=1M oflag=direct status=none
		blockdev --flushbufs "$cut"
		data=$(vdisk check --json "$cut" | jq .units.data)
		ro a "cache ( block $cut ) ( $blob )"
		if ((data)); then
			present=$((present + 1))
			stale '"2"' "cut: entry $next, $data present: another version is refused"
		fi
		serves '"1"' "$old"
		some $((len * 512)) 0 "cut: entry $next: every byte is right"
		dead
		gone a
	done
	ok $((!(i > 3 && present))) "cut: $i states, $present with something present"
fi
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
