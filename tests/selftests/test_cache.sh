#!/bin/bash
# cache, and overlay with copy_on_read: what is read from the base is kept, in blocks, each read once, and never over what was
# written since. A store that fails is done without; a base that fails is the reader's error.
# check: 6.1
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512 discard=1
null_disk 16 512 discard=1
null_disk 16 4096 discard=1
base=${disks[0]} store=${disks[1]} large=${disks[2]}
a=/dev/mapper/${VD}a
fetch() { dd if="$a" of=/dev/null bs=512 skip="$1" count="${2:-1}" iflag=direct status=none; }
# A disk that is only read. Its fills end after what was read; a suspend waits for them.
vr() { dmsetup create "$VD$1" --readonly --table "0 $2 vdisk $3"; }
settle() { dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"; }
held() { wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'held=$1'"; }
# asked: requests at the base, the last leaf of the line
asked() { status a | grep -o ' reads=[0-9]*' | tail -n 1 | cut -d = -f 2; }

verified 'a base' -n 300 -m 512 -r 0 --size $((16384 * 512)) --dump-model "$TMP/base" "$base"

# Each block is read once, and then is there
vr a 16384 "cache volatile fill:64 read_ahead:0 ( ram ) ( block $base )"
fetch 70
fetch 100
settle
is "$(asked) $(counter a cache 1 data fills)" '1 64 1' 'one read of a block'
fetch 60 8
settle
is "$(asked) $(counter a cache 1 data fills)" '2 128 2' 'a read that needs half of it'
verified 'all of it' --check-file "$TMP/base" "$a"
settle
is "$(asked) $(counter a cache 1 data fills)" '256 16384 256' 'no block is read twice'
verified 'and again' --check-file "$TMP/base" "$a"
is "$(asked)" 256 'from the store'
gone a

# All blocks are asked for at once, of a base that does not answer: one request for each, and who reads waits for no other
vr a 16384 "cache volatile fill:64 read_ahead:0 ( delay write:1000s ( ram ) ) ( test mode:hold ( block $base ) )"
for i in 0 1 2 3 4 5 6 7; do
	fetch $((8 * i)) 8 &
done
fetch 64 8 &
held 2
wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'filling=2'"
sleep 1
is "$(counter a test 1 held)" 2 'nine reads of two blocks: two requests'
dmsetup message "${VD}a" 0 test release
wait
# The store is still being written
is "$(counter a cache 1 data filling) $(counter a delay 1 held)" '0 2 2' 'they do not wait for the store'
run_ok 'neither does a read that comes later' timeout 60 dd if="$a" of=/dev/null bs=512 count=1 skip=33 iflag=direct status=none
is "$(asked)" 2 'and the base is not asked again'
settle
is "$(counter a cache 1 data)" 128 'then the store has it'
gone a

# A sequential reader is overtaken
vr a 16384 "cache volatile fill:64 read_ahead:512 ( ram ) ( block $base )"
fetch 0
fetch 64
settle
ok "$(($(counter a cache 1 data) <= 128))" 'read ahead'
fetch 8000
before=$(asked)
settle
is "$(asked)" "$before" 'a read somewhere else is not sequential'
dd if="$a" of=/dev/null bs=32k iflag=direct status=none
settle
is "$(counter a cache 1 data fills dropped)" '16384 256 0' 'no block is read twice'
gone a

# An error of the base is that of who reads the bad sector. What is near it can be read, and is not kept.
dm s "0 100 linear $base 0
100 1 error
101 16283 linear $base 101"
vr a 16384 "cache volatile fill:64 read_ahead:0 ( ram ) ( block /dev/mapper/${VD}s )"
is "$(error dd if="$a" of=/dev/null bs=512 count=1 skip=100 iflag=direct)" 'Input/output error' 'the base fails'
run_ok 'and beside it does not' fetch 101 8
settle
is "$(counter a cache 1 data)" 0 'nothing is kept of that'
reload s "0 16384 linear $base 0"
verified 'when it is mended, all is there' --check-file "$TMP/base" "$a"
gone a s

# The store fails, first for writes, then for reads: the base serves, one event
dm s "0 16384 error"
vr a 16384 "cache volatile fill:64 read_ahead:0 ( block /dev/mapper/${VD}s ) ( block $base )"
before=$(events)
fetch 0
settle 2>/dev/null
verified 'the store fails to be written' --check-file "$TMP/base" "$a"
ok "$(($(events) == before))" 'an event'
is "$(counter a cache 1 data store)" '0 failed' 'it says so'
reload s "0 32768 linear $store 0"
settle
is "$(counter a cache 1 store)" ok 'a resume tries again'
fetch 0 200
dd if="$a" of=/dev/null bs=1M iflag=direct status=none
settle
is "$(counter a cache 1 data)" 16384 'and keeps'
reload s "0 16384 error"
verified 'the store fails to be read' --check-file "$TMP/base" "$a"
is "$(counter a cache 1 store)" failed 'it says so'
gone a s

# One read that is split below, in the store and again in the base: the store fails in the middle of it
null_disk 2 512 max_sectors=8
null_disk 2 512 max_sectors=8
small=("${disks[@]: -2}")
verified 'a base whose requests are small' -n 60 -m 512 -r 0 --size $((2048 * 512)) --dump-model "$TMP/small" "${small[0]}"
dmesg -C
for ((i = 0; i < 10; i++)); do
	vr a 2048 "cache volatile fill:1024 read_ahead:0 ( block ${small[1]} ) ( block ${small[0]} )"
	dd if="$a" of=/dev/null bs=512k iflag=direct status=none
	settle
	echo +40-47 >"/sys/kernel/config/nullb/${null_disks[-1]}/badblocks"
	run_ok "the store fails within a read, $i" cmp -n 1048576 <(dd if="$a" bs=512k iflag=direct status=none) "${small[0]}"
	is "$(counter a cache 1 data store)" '2048 failed' 'and is done without'
	echo -40-47 >"/sys/kernel/config/nullb/${null_disks[-1]}/badblocks"
	gone a
done

# In a file, below a read-only disk
truncate -s 16M "$TMP/store"
mkstore format "$TMP/store" --len 16384
vr a 16384 "cache ( file $TMP/store buffered ) ( block $base )"
run_ok 'a store in a file' cmp "$base" "$a"
settle
is "$(counter a cache 1 data store)" '16384 ok' 'it is kept there'
gone a
run_ok 'the store is clean' mkstore check "$TMP/store"

# Kept for good: there again without a base. D5: what is there is there after a cut, see test_overlay_cut.sh
for unit in 512 4096; do
	[[ $unit == 512 ]] && place=$store || place=$large
	mkstore format "$place" --len 16384 --unit "$unit"
	vr a 16384 "cache ( block $place ) ( block $base )"
	run_ok "unit $unit: all of it" cmp "$base" "$a"
	settle
	gone a
	run_ok 'the store is clean' mkstore check "$place"
	vr a 16384 "cache ( block $place ) ( test mode:fail ( block $base ) )"
	run_ok "unit $unit: there again, without the base" cmp "$base" "$a"
	gone a
done

# D2: a cache in the middle has a part, and the layer above leaves holes. D3: the base ends first, in the middle of a block
mkstore format "$store" --len 16384 --max-len 40000
put "$base" b 65536
middle="overlay volatile ( ram ) ( cache fill:8 read_ahead:0 ( block $store ) ( block $base len:45 ) )"
vd a 16384 "$middle"
fetch 24
settle
put "$a" w 4096 seek=1
put "$a" w 4096 seek=4
for i in 1 2; do
	is "$(dd if="$a" bs=64k count=1 iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n')" \
		"bbbbbbbbwwwwwwwwbbbbbbbbbbbbbbbbwwwwwwwwbbbbb$(printf '%083d' 0 | tr 0 .)" "D2, D3: all layers in one read, $i"
	settle
done
is "$(letter "$a" 50)$(letter "$a" 16000)" .. 'D3: a read that begins behind the base'
# D4: longer, and written
run_ok 'longer' reload a "0 20000 vdisk $middle"
put "$a" y 512 seek=19000
is "$(letter "$a" 19000)$(letter "$a" 18999)$(letter "$a" 9)$(letter "$a" 0)" 'y.wb' 'D4: what is written behind the old base is there'
gone a

# A write comes while the base is read: it is not overtaken. One that comes while the store is written waits.
vd a 16384 "overlay volatile copy_on_read fill:64 read_ahead:0 ( ram ) ( test mode:hold ( block $base ) )"
fetch 0 8 &
held 1
put "$a" w 4096
put "$a" w 4096 seek=2
blkdiscard -f -o 16384 -l 4096 "$a"
dmsetup message "${VD}a" 0 test release
wait
settle
is "$(letter "$a" 0)$(letter "$a" 8)$(letter "$a" 16)$(letter "$a" 32)$(letter "$a" 40) $(counter a overlay 1 data zero)" \
	'wbw.b 56 8' 'a fill loses against a write and a discard'
gone a
vd a 16384 "overlay volatile copy_on_read fill:64 read_ahead:0 ( delay write:1000s ( ram ) ) ( block $base )"
fetch 0 8
held 1
put "$a" w 4096 seek=1 &
write=$!
put "$a" w 4096 seek=100 &
sleep 1
kill -0 "$write"
ok $? 'a write waits for the fill that is being stored'
is "$(counter a delay 1 held)" 2 'and others do not'
settle
wait
is "$(letter "$a" 8)$(letter "$a" 0)$(letter "$a" 800)" wbw 'and is not lost'
gone a

# Random reads and writes while blocks are filled, against what the base is known to have
verified 'a base' -n 300 -m 512 -r 0 --size $((16384 * 512)) --dump-model "$TMP/base" "$base"
io=(-n 1500 -m 128 -f 2 -w 20 -d 4 -z 4 -r 60 --discard-zeroes --scribble --known "$TMP/base" --verify)
for stack in "overlay volatile copy_on_read fill:24 ( delay write:200us ( ram ) ) ( delay read:300us ( block $base ) )" \
	"overlay volatile copy_on_read fill:2048 ( test mode:work piece:3 ( block $store ) ) ( test up piece:7 ( block $base ) )" \
	"overlay volatile ( ram ) ( cache volatile label:c fill:40 ( delay write:1ms ( ram ) ) ( cache volatile ( ram ) ( block $base ) ) )" \
	"test piece:5 ( overlay volatile copy_on_read ( ram ) ( striped chunk:8 ( cache volatile fill:24 ( ram ) ( block $base len:8192 ) ) ( zero ) ) )"; do
	[[ $stack == *striped* ]] && want=(-n 800 -m 128 -d 4 -z 4 --verify) || want=("${io[@]}")
	vd a 16384 "$stack"
	verified "$stack" "${want[@]}" "$a"
	comment "$(counter a overlay 1 fills dropped) $(counter a cache 1 fills dropped)"
	gone a
done

# What the store has cannot be told, and its device calls that the medium's fault
mkstore format "$store" --len 16384 --max-len 40000
vr a 16384 "cache fill:64 ( concat ( block $store len:16 ) ( test mode:fail ( block $store start:16 len:32 ) ) ( block $store start:48 ) ) ( block $base )"
run_ok 'presence cannot be read: the disk can' timeout 60 dd if="$a" of=/dev/null bs=4k count=1 iflag=direct status=none
is "$(counter a cache 1 store)" failed 'from its base'
gone a

# Reload under load
mkstore format "$store" --len 16384 --max-len 40000
stack="overlay copy_on_read fill:24 label:o ( block $store ) ( delay read:100us ( block $base ) )"
stacks=("$stack" "test mode:work ( $stack )")
length=16384
vd a 16384 "$stack"
under_load 'reload' another_stack -d 8 -z 8 -f 4 -u 10 -w 20 -r 60 --discard-zeroes --known "$TMP/base" --dump-model "$TMP/model"
gone a
vd a 16384 "$stack"
verified 'there again' --check-file "$TMP/model" "$a"
gone a
run_ok 'the store is clean' mkstore check "$store"

# What is not to be
scratch
refused 'cache: takes no writes: say write_through, make it the base of an overlay, or the device read-only' "cache volatile ( ram ) ( block $base )" 16384
refused 'overlay: fill: needs copy_on_read' "overlay volatile fill:8 ( ram ) ( block $base )" 16384
refused 'overlay: fill: not a multiple of the block size, 8 sectors' "overlay volatile copy_on_read fill:9 ( block $large ) ( block $base )" 16384
refused 'overlay/1/overlay: copy_on_read: as a base it is only read; use a cache below it' \
	"overlay volatile ( ram ) ( overlay volatile copy_on_read ( ram ) ( block $base ) )" 16384
refusals
gone "$scratch"
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
