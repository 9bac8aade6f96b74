#!/bin/bash
# cache with write_through: what is written is in the base first, and in the store if the base has taken it. What overlaps, what
# fails, and what a loss of power leaves: the base is the truth, and nobody reads anything else. Some 3 minutes.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.12
# timeout: 900
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512 discard=1
null_disk 16 512 discard=1
null_disk 16 4096 discard=1
null_disk 8 4096 discard=1
base=${disks[0]} store=${disks[1]} large=${disks[2]} base4=${disks[3]}
a=/dev/mapper/${VD}a
N=16384
W='cache write_through'
# In blocks, none of which is read ahead
C="$W fill:8 read_ahead:0"
new_store() { vdisk format "$1" --len $N --max-len $N --unit "${2:-512}" --write-through --force >/dev/null; }
fetch() { dd if="$a" of=/dev/null bs=512 skip="$1" count="${2:-1}" iflag=direct status=none; }
settle() { dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"; }
through() { counter a cache 1 data through; }
# Of the base's leaf, the last one of the line
last() { status a | grep -o " $1=[0-9]*" | tail -n 1 | cut -d = -f 2; }
# leaf N KEY: of the N-th node of the line
leaf() { status a | grep -o " $2=[0-9]*" | sed -n "$1p" | cut -d = -f 2; }
flags() { vdisk dump --force-share --json "$store" | jq -r '.superblocks[] | select(.counts).fields | "\(.flags) \(.epoch)"'; }
# same NAME [BASE]: the disk is its base, byte by byte
same() {
	cmp <(dd if="$a" bs=1M iflag=direct status=none) <(dd if="${2:-$base}" bs=1M iflag=direct status=none)
	ok $? "$1: the disk is its base"
}

# What it does: base, store, states
new_store "$store"
vd a $N "$C ( block $store ) ( block $base )"
is "$(through) $(flags)" '0 clean 0 1' 'a new store'
put "$a" w 4096 seek=1
is "$(through) $(flags)" '8 dirty 1 1' 'a write: the store has it, and is dirty'
is "$(letter "$base" 8)$(letter "$store" $((2048 + 8)))" ww 'it is in both'
before=$(last reads)
is "$(letter "$a" 8) $(($(last reads) - before))" 'w 0' 'and is read from the store'
put "$base" b 4096 seek=2
fetch 16
settle
is "$(through) $(flags) $(letter "$a" 16)" '16 clean 0 1 b' 'a read: it is kept; a suspend cleans'
put "$a" x 512 seek=17
is "$(through) $(letter "$base" 17)$(letter "$store" $((2048 + 17)))$(letter "$a" 16)$(letter "$a" 17)" '16 dirty xxbx' 'an overwrite'
blkdiscard -f -o $((16 * 512)) -l 512 "$a"
blkdiscard -f -z -o 4096 -l 512 "$a"
is "$(through) $(letter "$base" 16)$(letter "$base" 8)$(letter "$a" 16)$(letter "$a" 8)$(letter "$a" 9)" '15 dirty ....w' \
	'a discard is in the base, and no longer in the store; zeroes, where they are written, in both'
wait_for 20 sh -c "dmsetup status ${VD}a | grep -q through=clean"
ok $? 'it cleans itself when nothing is written'
is "$(flags)" '0 1' 'on the store, too'
put "$a" y 512
is "$(through) $(flags)" '17 dirty 1 1' 'and is dirty again when it is written'
gone a
is "$(flags)" '0 1' 'a removal cleans'
vd a $N "$C ( block $store ) ( test mode:fail ( block $base ) )"
is "$(letter "$a" 0)$(letter "$a" 9)$(letter "$a" 17)" ywx 'what it kept is there again, without the base'
is "$(error put "$a" z 512)" 'No data available' 'a write without the base fails, as that says'
is "$(error dd if="$a" of=/dev/null bs=512 count=1 iflag=direct)" 'No data available' 'and what was there is not believed any more'
gone a
run_ok 'the store is clean' vdisk check "$store"

# Flushes are the base's alone; a base that can zero does that
V="$W volatile fill:8 read_ahead:0"
truncate -s 8M "$TMP/base"
vd a $N "$V ( block $store ) ( file $TMP/base buffered )"
put "$a" w 4096
before="$(leaf 2 flushes) $(last flushes)"
for i in 1 2 3; do
	put "$a" w 512 conv=fsync
done
is "$(leaf 2 flushes) $(last flushes)" "${before% *} $((${before#* } + 3))" 'three flushes'
gone a
vd a $N "$V ( block $store ) ( ram )"
put "$a" w 4096
blkdiscard -f -z -o 512 -l 512 "$a"
is "$(counter a cache 1 data) $(letter "$a" 0)$(letter "$a" 1)$(letter "$a" 2)" '7 w.w' 'zeroes'
gone a

# The base is first, and the guest waits for both
vd a $N "$V ( test mode:hold label:s ( ram ) ) ( test mode:hold label:b ( block $base ) )"
put "$a" p 512 seek=40 &
wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'held=1'"
is "$(counter a test 1 held) $(counter a test 2 held)" '0 1' 'the base is asked first'
dmsetup message "${VD}a" 0 b release
wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'held=1'"
is "$(counter a test 1 held) $(counter a test 2 held) $(letter "$base" 40) $(counter a cache 1 data)" '1 0 p 0' 'then the store'
kill -0 $!
ok $? 'the guest waits'
dmsetup message "${VD}a" 0 s release
wait
is "$(counter a cache 1 data) $(letter "$a" 40)" '1 p' 'done'
gone a

# Two at the same time: nobody knows which of them both have last, so the store has neither. Those beside them it has.
vd a $N "$V ( ram ) ( test mode:hold ( block $base ) )"
put "$a" 1 1024 seek=100 &
put "$a" 2 512 seek=201 &
put "$a" 3 512 seek=210 &
wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'held=3'"
dmsetup message "${VD}a" 0 test release
wait
is "$(counter a cache 1 data)" 1 'two writes that overlap, and one that does not'
same 'overlapping'
gone a
vd a $N "$V ( ram ) ( test mode:hold ( block $base ) )"
put "$a" 1 4096 &
wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'held=1'"
blkdiscard -f -o 512 -l 512 "$a" &
wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'held=2'"
dmsetup message "${VD}a" 0 test release
wait
is "$(counter a cache 1 data)" 0 'a write and a discard'
same 'overlapping discard'
gone a

# A write and a fill that has read what was there before: the fill is neither stored nor served to who comes later
vd a $N "$V ( ram ) ( test mode:hold ( block $base ) )"
put "$base" o 4096 seek=8
fetch 64 &
wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'held=1'"
put "$a" n 512 seek=65 &
wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'held=2'"
dmsetup message "${VD}a" 0 test release
wait
settle
is "$(counter a cache 1 data dropped)" '1 1' 'a fill loses against a write'
is "$(letter "$a" 65)$(letter "$a" 64)" no 'and nobody reads what it has'
gone a
# One that is being stored: the write waits
vd a $N "$V ( delay write:1000s ( ram ) ) ( block $base )"
fetch 64
wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'held=1'"
put "$a" m 512 seek=66 &
sleep 1
is "$(letter "$base" 66)" o 'a write waits for a fill that is being stored'
settle
wait
settle
is "$(counter a cache 1 data) $(letter "$a" 66)" '8 m' 'and is not lost'
same 'a fill that is being stored'
gone a

# Many at once, in few blocks, and slow at random: whatever is in the store is in the base
for stack in "$V ( delay write:0us/3ms@50 seed:1 ( ram ) ) ( delay write:0us/3ms@50 seed:2 read:1ms ( block $base ) )" \
	"$C ( delay write:0us/3ms@60 seed:3 ( block $store ) ) ( delay write:0us/2ms@30 seed:4 ( block $base ) )"; do
	[[ $stack != *"$store"* ]] || new_store "$store"
	vd a $N "$stack"
	for ((i = 0; i < 6; i++)); do
		vdio -t 4 -n 300 -m 16 -r 30 -d 6 -z 6 --discard-any -S $i --size 65536 "$a" >/dev/null 2>&1 &
	done
	wait
	same "$stack"
	comment "$(counter a cache 1 data fills dropped)"
	gone a
done

# Random I/O, verified; then the base alone
for stack in "$W ( block $store ) ( block $base )" "$W volatile fill:24 ( ram ) ( delay read:300us write:200us ( block $base ) )" \
	"$W fill:2048 ( test mode:work piece:3 ( block $store ) ) ( test up piece:7 ( block $base ) )" \
	"$W ( file $TMP/store buffered ) ( striped chunk:8 ( block $base len:8192 ) ( block $base start:8192 ) )" \
	"test piece:5 ( $W volatile ( ram ) ( $W label:x ( block $store ) ( block $base ) ) )" \
	"$W volatile ( ram ) ( overlay volatile ( ram ) ( block $base ) )"; do
	new_store "$store"
	[[ $stack != *"$TMP"* ]] || new_store "$TMP/store"
	vd a $N "$stack"
	verified "$stack" -n 1000 -m 128 -f 3 -u 8 -w 20 -d 4 -z 4 --discard-any --verify --dump-model "$TMP/model" "$a"
	comment "$(counter a cache 1 data fills dropped)"
	verified 'from the store' --check-file "$TMP/model" "$a"
	if [[ $stack != *striped* && $stack != *overlay* ]]; then
		verified 'the base has all' --check-file "$TMP/model" "$base"
		same "$stack"
	fi
	gone a
	if [[ $stack == *"$store"* ]]; then
		run_ok 'the store is clean' vdisk check "$store"
		is "$(flags)" '0 1' 'and not dirty'
	fi
done
new_store "$large" 4096
vd a $N "$W ( block $large ) ( block $base4 )"
verified 'blocks of 4096' -n 600 -m 128 -f 3 -d 4 -z 4 --discard-any --verify --dump-model "$TMP/model" "$a"
same 'blocks of 4096' "$base4"
gone a
vd a $N "$W ( block $large ) ( block $base4 )"
verified 'there again' --check-file "$TMP/model" "$a"
gone a

# Reload and suspend under load, and hydration
new_store "$store"
stack="$W label:c fill:24 ( block $store ) ( delay read:100us write:50us ( block $base ) )"
stacks=("$stack" "test mode:work ( $stack )")
length=$N rounds=6
vd a $N "$stack"
under_load 'reload' another_stack -d 8 -z 8 -f 4 -u 10 -w 20 -r 50 --discard-any --dump-model "$TMP/model"
verified 'reload: all is there' --check-file "$TMP/model" "$a"
same 'reload'
dmsetup message "${VD}a" 0 c hydrate start
wait_for 30 sh -c "dmsetup status ${VD}a | grep -q hydrate=done"
is "$(counter a cache 1 data)" $N 'hydrated'
gone a
is "$(flags)" '0 1' 'and clean: it does not say that it needs no base'

# The base fails to be written: the guest's error, and the base's data
modprobe dm-flakey
new_store "$store"
dm b "0 $N linear $base 0"
vd a $N "$C ( block $store ) ( block /dev/mapper/${VD}b )"
put "$a" g 8192 seek=4
reload b "0 $N flakey $base 0 0 3600 1 error_writes"
is "$(error put "$a" h 4096 seek=8)" 'Input/output error' 'the base fails'
is "$(through) $(letter "$a" 64)$(letter "$a" 72)" '8 dirty gg' 'its data is read, and not what it has not taken'
reload b "0 $N linear $base 0"
put "$a" h 4096 seek=8
is "$(through) $(letter "$a" 64)$(letter "$base" 64)" '16 dirty hh' 'mended'
same 'a failed write'
gone a b

# The store fails: the guest does not notice; what it had is not believed after that
new_store "$store"
dm s "0 32768 linear $store 0"
vd a $N "$C label:l ( block /dev/mapper/${VD}s ) ( block $base )"
put "$a" i 8192
reload s "0 32768 flakey $store 0 0 3600 1 error_writes"
before=$(events)
run_ok 'the store fails' put "$a" j 4096
run_ok 'and once more' put "$a" k 4096 seek=1
is "$(counter a cache 1 store through) $(letter "$a" 0)$(letter "$a" 8)$(letter "$base" 0)" 'failed dirty jkj' 'all is in the base'
ok "$(($(events) == before))" 'an event'
reload s "0 32768 linear $store 0"
settle
is "$(counter a cache 1 store through epoch data) $(letter "$a" 8)" 'ok clean 2 0 k' 'it begins anew'
put "$a" l 4096
is "$(counter a cache 1 data) $(flags)" '16 1 2' 'and keeps'
same 'the store had failed'
# While it is clean: what can still be written of it says that it is not any more
settle
is "$(through) $(flags)" "$N clean 0 2" 'at rest'
printf '%s\n' "0 2048 linear $store 0" '2048 30720 error' | dmsetup load "${VD}s"
dmsetup suspend "${VD}s" && dmsetup resume "${VD}s"
is "$(letter "$a" 0) $(counter a cache 1 store)" 'l failed' 'it cannot be read'
run_ok 'writes go on' put "$a" n 4096 seek=1
is "$(letter "$a" 8)$(letter "$base" 8) $(counter a cache 1 through) $(flags)" 'nn dirty 1 2' 'and it says so'
# Once it is known to be dirty, it may be gone altogether: what is reloaded goes on without it
reload s '0 32768 error'
settle
is "$(letter "$a" 8) $(counter a cache 1 store through)" 'n failed dirty' 'it is gone, and the disk resumes'
run_ok 'nobody needs it' put "$a" o 4096 seek=2
reload a "0 $N vdisk delay ( $C label:l ( block /dev/mapper/${VD}s ) ( block $base ) )"
is "$(letter "$a" 16)$(letter "$base" 16) $(counter a cache 1 store)" 'oo failed' 'nor does another table'
reload s "0 32768 linear $store 0"
settle
is "$(counter a cache 1 store through epoch data) $(letter "$a" 0)$(letter "$a" 8)$(letter "$a" 16)" 'ok clean 3 0 lno' 'it is mended, and begins anew'
put "$a" l 4096
same 'the store was gone'
# Before it could be made dirty: a write would not be known to have been
settle
reload s "0 32768 flakey $store 0 0 3600 1 error_writes"
is "$(error put "$a" m 4096)" 'Input/output error' 'a store that cannot be made dirty'
is "$(letter "$a" 0)$(letter "$base" 0) $(counter a cache 1 store)" 'll failed' 'the base is not written'
dmsetup suspend "${VD}a"
dmsetup resume "${VD}a" 2>/dev/null
is $? 1 'nor is the disk resumed'
reload s "0 32768 linear $store 0"
run_ok 'before it is mended' dmsetup resume "${VD}a"
put "$a" m 4096
is "$(letter "$a" 0)$(letter "$base" 0) $(counter a cache 1 store epoch)" 'mm ok 4' 'then it is written'
gone a s

# Power is lost. Base and store lie on one disk, whose writes are logged; it is what they were at some point of that.
if modprobe dm-log-writes 2>/dev/null; then
	null_disk 32 512 discard=1
	null_disk 200 512
	null_disk 32 512 discard=1
	null_disk 32 512 discard=1
	disk=${disks[4]} log=${disks[5]} replayed=${disks[6]} cut=${disks[7]}
	halves() { echo "$W fill:64 ( block $1 start:16384 ) ( block $1 len:16384 )"; }
	new_store "$store"
	dd if="$store" of="$disk" bs=1M seek=8 oflag=direct conv=notrunc status=none
	vd a $N "$(halves "$disk")"
	verified 'a store that has something' -n 200 -m 128 -r 0 --verify --dump-model "$TMP/old" "$a"
	dd if="$a" of=/dev/null bs=1M iflag=direct status=none
	settle
	is "$(through)" "$N clean" 'all of it'
	gone a
	dd if="$disk" of="$replayed" bs=1M oflag=direct status=none
	dm l "0 65536 log-writes $disk $log"
	vd a $N "$(halves "/dev/mapper/${VD}l")"
	known="$TMP/old"
	# No FUA: dm-log-writes logs it ahead of what was written before and not flushed since, and replays that over it
	for ((i = 0; i < 4; i++)); do
		verified "round $i" -n 60 -m 64 -f 10 -d 8 -z 8 -r 10 --discard-any --known "$known" --dump-model "$TMP/model$i" "$a"
		sync "$a"
		dmsetup message "${VD}l" 0 mark "round$i"
		known="$TMP/model$i"
		if ((i == 1)); then
			dd if="$a" of=/dev/null bs=1M iflag=direct status=none
			settle
			dmsetup message "${VD}l" 0 mark clean
		fi
	done
	gone a l
	dd if="$disk" of="$TMP/base" bs=1M count=8 iflag=direct status=none
	verified 'the base has all that was written' --check-file "$TMP/model3" "$TMP/base"
	# look NAME KEPT [MODEL]: kept: what the store says of itself, the epoch that it has then, and the blocks that were read from
	# the base since
	look() {
		local dirty
		dd if="$replayed" of="$cut" bs=1M oflag=direct status=none
		dd if="$cut" of="$TMP/base" bs=1M count=8 iflag=direct status=none
		dd if="$cut" of="$TMP/store" bs=1M skip=8 iflag=direct status=none
		dirty=$(vdisk check --json "$TMP/store" | jq -r '"\(.result) \(.dirty)"')
		vd a $N "$(halves "$cut")"
		cmp <(dd if="$a" bs=1M iflag=direct status=none) "$TMP/base"
		ok $? "$1: the disk is its base"
		[[ -z ${3-} ]] || verified "$1: all that was flushed is there" --check-file "$3" "$a"
		dirty+=" $(counter a cache 1 epoch fills)"
		# shellcheck disable=SC2053 # a pattern
		[[ $dirty == $2 ]]
		ok $? "$1: $2"
		comment "it says: $dirty"
		gone a
	}
	look 'before all' 'clean false 1 0' "$TMP/old"
	next=0
	for ((i = 0; i < 4; i++)); do
		for ((k = 0; k < 4; k++)); do
			read -r next _ < <(logreplay "$log" "$replayed" "$next" "#$((next + 3 + RANDOM % 20))")
			look "round $i, entry $next" 'clean *'
		done
		read -r next _ < <(logreplay "$log" "$replayed" "$next" "@round$i")
		look "round $i" "clean true 2 $((N / 64))" "$TMP/model$i"
		if ((i == 1)); then
			read -r next _ < <(logreplay "$log" "$replayed" "$next" "@clean")
			look 'at rest' 'clean false 1 0' "$TMP/model1"
		fi
	done
fi

# What is not to be
scratch
refused "cache: write_through: the base has 16000 sectors, 16384 are asked of it" "$W volatile ( ram ) ( block $base len:16000 )" 16384
refused 'cache: write_through: a base that is zero keeps nothing of what is written' "$W volatile ( ram ) ( zero )" 16384
refused 'cache/1/blob: can only be read: put it below an overlay, or load a read-only table' "$W volatile ( ram ) ( blob b len:16384 )" 16384
blockdev --setro "$base4"
refused "cache: write_through: the base is read-only: $(devno "$base4")" "$W volatile ( ram ) ( delay ( block $base4 ) )" 16384
blockdev --setrw "$base4"
refusals
gone "$scratch"
said() {
	dmsetup create "${VD}c" --table "0 $N vdisk $1" 2>/dev/null && gone c && return
	dmsetup remove --retry "${VD}c" 2>/dev/null
	dmesg | sed -n 's/.*device-mapper: vdisk: [^ ]* //p' | tail -n 1
}
vdisk format "$store" --len $N --force >/dev/null
is "$(said "$W ( block $store ) ( block $base )")" \
	'cache: store: of an overlay, or of a cache without write_through: it may have what the base has not; format another one with --write-through' \
	'the store of an overlay'
new_store "$store"
is "$(said "overlay ( block $store ) ( block $base )")" \
	'overlay: store: of a cache with write_through, whose base has the data; this is none' 'and the other way round'
vd a $N "$V label:v ( ram name:${VD}ram ) ( block $base )"
dmsetup load "${VD}a" --table "0 $N vdisk overlay volatile label:o ( ram ) ( cache volatile label:v ( ram name:${VD}ram ) ( block $base ) )" 2>/dev/null
is "$(dmesg | grep -c 'presence in the live table is of a node with write_through')" 1 'nor is it changed in memory'
gone a
rm -f "$TMP/new"
is "$(vdisk create "${VD}a" --create --explain "$W ( file $TMP/new buffered ) ( block $base )" | grep -o -- '--write-through')" --write-through 'vdisk create says so'
run_ok 'and makes a store' vdisk create "${VD}a" --create "$W ( file $TMP/new buffered ) ( block $base )"
put "$a" q 512
is "$(counter a cache 1 data) $(letter "$base" 0)" '1 q' 'of use'
gone a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
