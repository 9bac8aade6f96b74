#!/bin/bash
# overlay and cache: sectors of their store and of their base go bad while they are in use, and are mended. A failed write of states
# ends all writes, with an event, until a resume; a base's error is the reader's, and is not kept; a cache whose store fails is its base.
# null_blk does what dm-dust would, which Debian's kernels have not.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.12
# timeout: 300
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
N=8192
null_disk 4 512 discard=1
null_disk 8 512 discard=1
base=${disks[0]} store=${disks[1]}
a=/dev/mapper/${VD}a
# Sectors of the store
slot0=0 slot1=8 states=16 data=2048
# bad DISK FIRST [LAST], mended: while it is in use
bad() { echo "+$2-${3-$2}" >"/sys/kernel/config/nullb/${null_disks[$1]}/badblocks"; }
mended() { echo "-$2-${3-$2}" >"/sys/kernel/config/nullb/${null_disks[$1]}/badblocks"; }
of_base=0 of_store=1
resumed() { dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"; }
fetch() { dd if="$a" of=/dev/null bs=512 skip="$1" count="${2:-1}" iflag=direct status=none; }
seen() { dd if="$a" bs=512 skip="$1" count="$2" iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n'; }
state() { counter a "$1" 1 store; }
vr() { dmsetup create "$VD$1" --readonly --table "0 $2 vdisk $3"; }
new_store() { vdisk format "$store" --len $N --max-len 12000 --force >/dev/null; }
EIO='Input/output error'

put "$base" b $((N * 512))
bad 0 5
is "$(error dd if="$base" of=/dev/null bs=512 skip=5 count=1 iflag=direct)$(error put "$base" b 512 seek=5)" "$EIO$EIO" 'a bad sector is bad'
mended 0 5
is "$(error dd if="$base" of=/dev/null bs=512 skip=5 count=1 iflag=direct)" '' 'and can be mended'

# An overlay's data: the error is that of who reads or writes the bad sector
new_store
stack="overlay ( block $store ) ( block $base )"
vd a $N "$stack"
put "$a" 1 4096
sync "$a"
before=$(events)
bad $of_store $((data + 3)) $((data + 3))
bad $of_store $((data + 20))
is "$(error fetch 0 8)$(error put "$a" 2 512 seek=3)$(error put "$a" 2 1024 seek=10)" "$EIO$EIO$EIO" 'data: who needs a bad sector hears of it'
is "$(seen 0 3)$(seen 4 4)$(seen 19 3)" 1111111bbb 'data: the others are what they were'
put "$a" 3 512 seek=19
run_ok 'data: the overlay goes on' sync "$a"
is "$(state overlay) $(($(events) - before))" 'ok 0' 'data: and has not failed'
mended $of_store $((data + 3))
mended $of_store $((data + 20))
put "$a" 4 1024 seek=10
put "$a" 4 512 seek=3
is "$(seen 0 8)$(seen 19 3)" 11141111344 'data: mended'

# Its states: nothing is acknowledged any more, and read it is; again and again until they can be written
before=$(events)
# First: a machine may be so slow that the timer commits before the sync does.
bad $of_store $((states)) $((states + 2))
put "$a" 5 512 seek=40
is "$(error sync "$a") $(state overlay) $(($(events) - before))" "$EIO failed 1" 'states: a flush fails, one event'
is "$(error put "$a" 6 512)$(error put "$a" 6 512 seek=50)$(error sync "$a")$(error blkdiscard -f -l 512 "$a")" "$EIO$EIO$EIO$EIO" \
	'states: nothing is written'
is "$(seen 0 4)$(seen 40 1)$(seen 50 1)$(seen 1900 1)" 11145bb 'states: all can be read'
mended $of_store $((states)) $((states + 2))
is "$(error sync "$a") $(state overlay)" "$EIO failed" 'states: not by itself'
bad $of_store $((states))
run_ok 'states: a resume with the sector bad' resumed
is "$(error sync "$a") $(state overlay) $(seen 40 1)" "$EIO failed 5" 'states: fails again, and loses nothing'
mended $of_store $((states))
run_ok 'states: a resume with the sector mended' resumed
is "$(error sync "$a") $(state overlay)" ' ok' 'states: it is written'
put "$a" 6 512 seek=50
gone a
run_ok 'states: the store is clean' vdisk check "$store"
vd a $N "$stack"
is "$(seen 0 4)$(seen 40 1)$(seen 50 1)" 111456 'states: all is there'
gone a

# States that cannot be read are not taken for absent; those of other sectors can
vd a $N "$stack"
bad $of_store $((states + 1))
is "$(error fetch 1984)$(error put "$a" x 512 seek=1984)$(seen 0 1)$(seen 3968 1)" "$EIO${EIO}1b" 'states that cannot be read'
mended $of_store $((states + 1))
put "$a" 7 512 seek=1984
is "$(seen 1984 2) $(state overlay)" '7b ok' 'states that can be read again'
gone a

# Superblocks
bad $of_store $slot1
dmsetup create "${VD}a" --table "0 $N vdisk $stack" 2>/dev/null
is "$? $(dmesg | sed -n 's/.*device-mapper: vdisk: [0-9:]*: //p' | tail -n 1)" "1 overlay: store: superblock 1 cannot be read (-EIO)" 'a superblock cannot be read'
dmsetup remove "${VD}a" 2>/dev/null
mended $of_store $slot1
vd a $N "$stack"
# One of them would do to have grown, but damage to it would undo that.
for slots in "$slot0 $slot1" "$slot0" "$slot1"; do
	grown=$((${grown:-9500} + 500))
	for slot in $slots; do
		bad $of_store "$slot"
	done
	dmsetup load "${VD}a" --table "0 $grown vdisk overlay ( block $store ) ( block $base )"
	dmsetup suspend "${VD}a"
	dmsetup resume "${VD}a" 2>/dev/null
	is "$? $(dmesg | sed -n 's/.*device-mapper: vdisk: [0-9:]*: //p' | tail -n 1)" "1 overlay: store: superblock cannot be written (-EIO)" \
		"at $slots a superblock cannot be written: the disk does not grow"
	[[ $slots == *' '* ]] ||
		is "$(vdisk dump --force-share --json "$store" | jq -c '[.superblocks[] | select(.counts) | .fields.len]')" "[$((grown - 500))]" \
			'nor does its store say so'
	for slot in $slots; do
		mended $of_store "$slot"
	done
	run_ok 'and does when it can' dmsetup resume "${VD}a"
	is "$(sectors "$a") $(seen 0 1)$(seen 1984 1)$(seen 9000 1)" "$grown 17." 'it has grown'
	is "$(vdisk dump --force-share --json "$store" | jq -c '[.superblocks[].fields.len]')" "[$grown,$grown]" 'both superblocks say so'
done
gone a

# The base: who reads the sector hears of it, and nothing near it is kept. Hydration is not done before it is mended.
new_store
vd a $N "overlay copy_on_read fill:64 read_ahead:0 label:o ( block $store ) ( block $base )"
bad $of_base 100
is "$(error fetch 100)$(error fetch 96 8)$(seen 99 1)$(seen 101 1)" "$EIO${EIO}bb" 'base: a bad sector is bad, its neighbours are not'
resumed
is "$(counter a overlay 1 data zero store)" '0 0 ok' 'base: nothing is populated'
put "$a" w 512 seek=100
is "$(seen 99 3)" bwb 'base: what is written over it can be read'
bad $of_base 5000
dmsetup message "${VD}a" 0 o hydrate start
is_now() { [[ $(counter a overlay 1 hydrate) != on ]]; }
wait_for 30 is_now
is "$(counter a overlay 1 hydrate) $(error fetch 5000)$(seen 5001 1)" "failed ${EIO}b" 'base: hydration fails'
mended $of_base 100
mended $of_base 5000
run_ok 'base: a resume with the sectors mended' resumed
dmsetup message "${VD}a" 0 o hydrate start
wait_for 30 is_now
is "$(counter a overlay 1 hydrate data) $(seen 99 3)$(seen 5000 1)" "done $N bwbb" 'base: mended, all of it is kept'
gone a

# A cache's store goes bad, to be read and to be written, and so do its states: the base serves, one event, and a resume mends it
new_store
vr a $N "cache fill:64 read_ahead:0 ( block $store ) ( block $base )"
fetch 0 128
resumed
is "$(counter a cache 1 data store)" '128 ok' 'cache: it keeps'
put "$base" c 512 seek=7
before=$(events)
bad $of_store $((data + 8))
is "$(seen 7 1)$(seen 8 1) $(state cache) $(($(events) - before))" 'bb failed 1' 'cache: its store cannot be read: its base is, one event'
is "$(seen 7 1)$(seen 300 1)" cb 'cache: then the base alone'
put "$base" b 512 seek=7
mended $of_store $((data + 8))
run_ok 'cache: a resume' resumed
is "$(state cache) $(seen 0 8)" 'ok bbbbbbbb' 'cache: mended'
bad $of_store $((data + 640)) $((data + 700))
before=$(events)
run_ok 'cache: its store cannot be written' fetch 650
resumed
run_ok 'cache: the base serves' cmp -n $((N * 512)) <(dd if="$a" bs=64k iflag=direct status=none) "$base"
ok $(($(events) == before)) 'cache: an event'
mended $of_store $((data + 640)) $((data + 700))
run_ok 'cache: a resume' resumed
bad $of_store $states
fetch 1000
resumed
is "$(state cache) $(seen 1000 1)" 'failed b' 'cache: its states cannot be written'
mended $of_store $states
run_ok 'cache: a resume' resumed
dd if="$a" of=/dev/null bs=64k iflag=direct status=none
resumed
is "$(counter a cache 1 data store)" "$N ok" 'cache: all of it is kept'
bad $of_base 0 $((N - 1))
run_ok 'cache: the base is not needed' dd if="$a" of=/dev/null bs=64k iflag=direct status=none
mended $of_base 0 $((N - 1))
gone a
run_ok 'cache: the store is clean' vdisk check "$store"

# The base ends in a unit, which the store has with zeroes behind that end. When it cannot be read the base is read to its end, and
# no further: what is behind it on its device is not the disk's.
right=$(printf 'b%.0s' {1..45})...
all_of_it() { dd if="$a" bs=24k count=1 iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n'; }
put "$base" c 4096 oflag=seek_bytes seek=$((45 * 512))
for below in "block $base len:45" "concat ( block $base len:40 ) ( block $base start:40 len:5 )" \
	"striped chunk:5 ( block $base len:15 ) ( block $base start:100 len:15 ) ( block $base start:200 len:15 )"; do
	for above in '' 'overlay volatile ( ram )'; do
		name="end of base: ${below%% *}${above:+, pieces}"
		line="cache volatile unit:4096 fill:8 read_ahead:0 ( block $store ) ( $below )"
		if [[ $above ]]; then
			vd a 48 "$above ( $line )"
		else
			vr a 48 "$line"
		fi
		is "$(all_of_it)" "$right" "$name: it is read"
		resumed
		is "$(counter a cache 1 data store)" '48 ok' "$name: it is kept"
		# The cache then gets a piece, not the bio.
		[[ ! $above ]] || put "$a" b 4096
		bad $of_store 42
		is "$(all_of_it) $(state cache)" "$right failed" "$name: its store cannot be read"
		is "$(all_of_it)" "$right" "$name: and is not asked any more"
		mended $of_store 42
		gone a
	done
done
put "$base" b 4096 oflag=seek_bytes seek=$((45 * 512))

# With write_through: a bad base is the writer's error, a bad store nobody's
vdisk format "$store" --len $N --max-len $N --write-through --force >/dev/null
vd a $N "cache write_through fill:8 read_ahead:0 ( block $store ) ( block $base )"
put "$a" 1 8192
bad $of_base 3
is "$(error put "$a" 2 4096)" "$EIO" 'through: the base is bad'
mended $of_base 3
is "$(counter a cache 1 data store) $(seen 3 1)$(seen 8 1)" '8 ok 11' 'through: the store forgets what it may not have'
put "$a" 3 4096
before=$(events)
bad $of_store $((data + 12))
run_ok 'through: the store is bad' put "$a" 4 4096 seek=1
is "$(seen 0 1)$(seen 8 1)$(letter "$base" 8) $(state cache) $(($(events) - before))" '344 failed 1' 'through: the base has it, one event'
put "$a" 5 4096
mended $of_store $((data + 12))
run_ok 'through: a resume' resumed
is "$(seen 0 1)$(seen 8 1) $(counter a cache 1 store epoch)" '54 ok 2' 'through: mended, it begins anew'
gone a

# Under load: sectors go bad and are mended, at random. What the cache gives is its base.
new_store
vr a $N "cache fill:64 ( block $store ) ( block $base )"
[[ ! ${VDISK_FUZZ_SEED-} ]] || RANDOM=$VDISK_FUZZ_SEED
touch "$TMP/on"
while [[ -e $TMP/on ]]; do
	cmp -s -n $((N * 512)) <(dd if="$a" bs=64k iflag=direct status=none) "$base" || echo 'something else' >>"$TMP/found"
done &
reader=$!
for ((i = 0; i < ${VDISK_ROUNDS:-8}; i++)); do
	((RANDOM % 3)) && first=$((data + RANDOM % N)) || first=$((states + RANDOM % 5))
	bad $of_store "$first" $((first + RANDOM % 32))
	resumed
	sleep 0.3
	mended $of_store 0 $((data + N + 32))
	resumed || echo 'no resume' >>"$TMP/found"
done
rm "$TMP/on"
wait "$reader"
is "$(cat "$TMP/found" 2>/dev/null)" '' "under load: nothing wrong is read, $i times"
gone a
run_ok 'under load: the store is clean' vdisk check "$store"
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
