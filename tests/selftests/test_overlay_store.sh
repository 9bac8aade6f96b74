#!/bin/bash
# overlay: what the store keeps. It is there again, in another table or after an end; a store that is not the right one, that is
# damaged or that fails is said to be so, and nothing is lost that need not be.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.1
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 16 512 discard=1
null_disk 24 512 discard=1
null_disk 24 4096 discard=1
base=${disks[0]} store=${disks[1]} large=${disks[2]}
a=/dev/mapper/${VD}a
# said STACK [SECTORS]: what a resume that is refused says
said() {
	dmsetup load "${VD}scratch" --table "0 ${2:-16384} vdisk $1" && ! dmsetup resume "${VD}scratch" 2>/dev/null &&
		dmesg | sed -n 's/.*device-mapper: vdisk: [0-9:]*: //p' | tail -n 1
	dmsetup clear "${VD}scratch"
}
format() { mkstore format "$@"; }
put "$base" b 65536

# Written, gone, and there again
for stack in "overlay ( block $store ) ( block $base )" "overlay ( concat ( block $store len:20480 ) ( block $store start:20480 ) ) ( block $base )" \
	"test piece:16 up ( overlay ( test mode:work piece:24 ( block $store ) ) ( test mode:timer ( block $base ) ) )"; do
	format "$store" --len 16384 --max-len 20000
	vd a 16384 "$stack"
	is "$(letter "$a" 127)$(letter "$a" 128)" b. "the base: $stack"
	verified "$stack" -n 400 -m 512 -f 4 -w 20 -u 20 -d 5 -z 5 --dump-model "$TMP/model" --discard-zeroes "$a"
	counted=$(counter a overlay 1 data zero)
	gone a
	vd a 16384 "$stack"
	verified 'there again' --check-file "$TMP/model" "$a"
	is "$(counter a overlay 1 data zero dirty)" "$counted 0" 'and counted'
	gone a
	run_ok 'the store is clean' mkstore check "$store"
done

# What the store has may not be durable: a host went down before it flushed, and the device did not.
null_disk 24 512 cache_size=1
lazy=$DISK
# flushes: how many the device had, field 16 of stat
flushes() { awk '{ print $16 }' "/sys/block/${lazy##*/}/stat"; }
format "$lazy" --len 16384
before=$(flushes)
vd a 16384 "overlay ( block $lazy ) ( block $base )"
is "$(($(flushes) - before))" 1 'who opens a store flushes it'
reload a "0 16384 vdisk overlay ( block $lazy ) ( block $base )" --noflush
is "$(($(flushes) - before))" 1 'once'
gone a
before=$(flushes)
vd a 16384 "overlay volatile ( ram ) ( overlay ( block $lazy ) ( block $base ) )"
is "$(($(flushes) - before))" 0 'who only reads it does not'
gone a
if modprobe -q dm_flakey || [[ -e /sys/module/dm_flakey ]]; then
	format "$lazy" --len 16384
	dm flakey "0 $(sectors "$lazy") flakey $lazy 0 0 1000 1 error_writes"
	run_fails 'a store that cannot be flushed' vd f 16384 "overlay ( block /dev/mapper/${VD}flakey ) ( block $base )"
	is "$(dmesg | grep -c 'device-mapper: vdisk: .*overlay: store: the flush failed')" 1 'it says so'
	gone flakey
fi

# 4096: blocks of the store, of the disk, of both
for stack in "overlay ( block $large ) ( block $base )" "overlay unit:4096 ( block $store ) ( block $base len:13 )"; do
	[[ $stack == *"$large"* ]] && place=$large || place=$store
	format "$place" --len 16384 --unit 4096
	vd a 16384 "$stack"
	is "$(limit a logical_block_size)" 4096 "4096: $stack"
	verified "4096: $stack" -n 300 -m 512 -f 4 -u 20 -d 5 -z 5 --dump-model "$TMP/model" --discard-zeroes "$a"
	gone a
	vd a 16384 "$stack"
	verified '4096: there again' --check-file "$TMP/model" "$a"
	gone a
	run_ok '4096: the store is clean' mkstore check "$place"
done

# Two layers, each with its own
format "$store" --len 16384
format "$large" --len 16384 --unit 4096
two="overlay unit:4096 ( block $large ) ( overlay ( block $store ) ( block $base ) )"
vd a 16384 "overlay ( block $store ) ( block $base )"
put "$a" 1 8192
gone a
vd a 16384 "$two"
put "$a" 2 4096
gone a
vd a 16384 "$two"
is "$(dd if="$a" bs=4096 count=3 iflag=direct status=none | fold -w 4096 | cut -c 1 | tr -d '\n')" 21b 'two layers'
gone a
vd a 16384 "overlay ( block $store ) ( block $base )"
is "$(letter "$a" 0)$(letter "$a" 8)$(letter "$a" 16)" 11b 'the lower one is as it was'
gone a

# An upper layer that is refused when it is to go live leaves the lower one to who had it
format "$store" --len 16384
dm s "0 20480 linear $store 24576"
mkstore format "/dev/mapper/${VD}s" --len 16384 --lineage other
one="overlay label:low ( block $store ) ( block $base )"
vd a 16384 "$one"
put "$a" 1 4096
dmsetup load "${VD}a" --table "0 16384 vdisk overlay label:top ( block /dev/mapper/${VD}s ) ( $one )"
dmsetup suspend "${VD}a"
run_fails 'a refused upper layer' dmsetup resume "${VD}a"
run_ok 'the lower one goes on' reload a "0 16384 vdisk $one"
is "$(letter "$a" 0)$(letter "$a" 8)" 1b 'as it was'
run_fails 'one store twice in a table' reload a "0 16384 vdisk overlay label:top ( block $store ) ( $one )"
run_ok 'and it goes on' reload a "0 16384 vdisk $one"
gone a s

# A layer that had become longer than its base is as long as a base of another one; behind it are zeroes
format "$store" --len 8 --max-len 1024
mkstore format "$large" --len 2048 --unit 4096
vd a 256 "overlay ( block $store ) ( block $base len:8 )"
put "$a" 1 4096 seek=20
gone a
vd a 2048 "overlay unit:4096 ( block $large ) ( overlay ( block $store ) ( block $base len:8 ) )"
is "$(dd if="$a" bs=4096 count=40 iflag=direct status=none | tr '\0' . | fold -w 4096 | cut -c 1 | tr -d '\n')" \
	b...................1................... 'a layer longer than its base'
gone a
vd a 1024 "overlay ( block $store ) ( block $base len:8 )"
is "$(letter "$a" 160)$(letter "$a" 1000)" 1. 'it grows by itself only'
gone a

# Reload and suspend under load; nothing of it depends on what the store has
format "$store" --len 16384 --max-len 40000
stack="overlay label:o ( block $store ) ( block $base )"
stacks=("$stack" "test mode:work ( $stack )" "concat ( test up ( $stack ) )")
length=16384 growth=128
vd a 16384 "$stack"
under_load 'reload and grow' another_stack -d 8 -z 8 -f 4 -u 10 -w 20 --discard-zeroes --size $((16384 * 512)) --dump-model "$TMP/model"
gone a
vd a 16384 "$stack"
verified 'there again' --check-file "$TMP/model" "$a"
dmsetup create "${VD}scratch" --notable
scratch=scratch
refused "overlay: store: in use by $(devno "$a")" "overlay ( block $store ) ( zero )" 16384
refusals
gone a

# Another store than it has to be
format "$store" --len 16384 --max-len 20000 --base-len 32768 --lineage debian
is "$(said "overlay ( block $store ) ( block $base )")" "overlay: lineage: the store is of 'debian', not of ''" 'lineage: none'
is "$(said "overlay lineage:sid ( block $store ) ( block $base )")" "overlay: lineage: the store is of 'debian', not of 'sid'" 'lineage: another'
is "$(said "overlay lineage:debian ( block $store ) ( block $base len:800 )")" \
	'overlay: store: is of a base of 32768 sectors, this one has 800' 'another base'
is "$(said "overlay lineage:debian ( block $store ) ( block $base )" 20008)" \
	'overlay: store: formatted for at most 20000 sectors, 20008 are asked of it' 'too long'
is "$(said "overlay lineage:debian ( block $store len:16384 ) ( block $base )")" \
	'overlay: store: has 16384 sectors, needs 18432' 'a store cut short'
gone scratch
dmsetup create "${VD}scratch" --notable
is "$(said "overlay unit:4096 lineage:debian ( block $store ) ( block $base )")" \
	'overlay: store: formatted for blocks of 512 bytes, the disk has 4096' 'another block size'
for flags in 1 8; do
	mkstore format "$large" --len 16384 --unit 4096 --flags $flags
	is "$(said "overlay ( block $large ) ( block $base )")" "overlay: store: unknown flags $flags" "flags $flags"
done
mkstore format "$large" --len 16384 --unit 4096 --incompat 4
is "$(said "overlay ( block $large ) ( block $base )")" \
	'overlay: store: superblocks: unknown incompatible features, unknown incompatible features' 'a feature'
mkstore format "$large" --len 16384 --unit 4096 --version 2
is "$(said "overlay ( block $large ) ( block $base )")" 'overlay: store: of version 2, this module knows 1' 'a version'
mkstore format "$large" --len 16384 --unit 4096 --incompat 1
for stack in "overlay ( block $large ) ( block $base )" "overlay volatile ( ram ) ( cache ( block $large ) ( block $base ) )"; do
	[[ $(said "$stack") == *': store: of a cache with write_through, whose base has the data; this is none' ]]
	ok $? "another kind of store: $stack"
done
mkstore format "$large" --len 16384 --unit 4096 --lineage $'a\nb'
is "$(said "overlay ( block $large ) ( block $base )")" "overlay: lineage: the store is of 'a\nb', not of ''" 'lineage: a line end'
is "$(said "overlay ( ram ) ( block $base )")" 'overlay: store: superblocks: no store: format it first, no store: format it first' 'no store'
vd a 16384 "overlay lineage:debian ( block $store ) ( block $base )"
put "$a" w 512
gone a

# Damage: of a superblock, of both, of presence
dd if="$store" of="$TMP/store" bs=1M count=2 iflag=direct status=none
damage() { printf '\xa5' | dd of="$store" bs=1 seek="$1" conv=notrunc,fsync status=none; }
damage 100
run_ok 'one superblock is torn' vd a 16384 "overlay lineage:debian ( block $store ) ( block $base )"
gone a
dd if="$TMP/store" of="$store" bs=1M oflag=direct status=none
damage 8300
vd a 16384 "overlay lineage:debian ( block $store ) ( block $base )"
before=$(events)
is "$(error dd if="$a" of=/dev/null bs=512 count=1 iflag=direct)" 'No data available' 'presence is damaged: reading'
is "$(($(events) - before))" 1 'an event says so'
is "$(error dd if=/dev/zero of="$a" bs=512 count=1 oflag=direct)" 'No data available' 'writing'
is "$(letter "$a" 1984)$(error dd if="$a" of=/dev/null bs=512 count=1 skip=1983 iflag=direct)" '.No data available' 'all of its blocks, and no others'
is "$(error blkdiscard -f -l 4096 "$a")" 'No data available' 'discarding some'
run_ok 'discarding all' blkdiscard -f -l $((1984 * 512)) "$a"
is "$(letter "$a" 0)" . 'is known again'
gone a
run_ok 'the store is clean' mkstore check "$store"

# The store fails: nothing is acknowledged, nothing is lost
format "$store" --len 16384
dm s "0 49152 linear $store 0"
vd a 16384 "overlay ( block /dev/mapper/${VD}s ) ( block $base )"
put "$a" 1 4096
sync "$a"
reload s "0 16 linear $store 0
16 8 error
24 49128 linear $store 24"
before=$(events)
put "$a" 2 4096 seek=1
is "$(error dd if=/dev/zero of="$a" bs=512 count=0 conv=fsync oflag=direct)$(counter a overlay 1 store)" 'Input/output errorfailed' 'the commit fails'
ok "$(($(events) == before))" 'an event'
is "$(error dd if=/dev/zero of="$a" bs=512 count=1 oflag=direct)" 'Input/output error' 'no more writes'
is "$(letter "$a" 0)$(letter "$a" 8)$(letter "$a" 16)" 12b 'reads go on'
reload s "0 49152 linear $store 0"
dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"
put "$a" 3 4096 seek=500
run_ok 'repaired: a flush' sync "$a"
is "$(counter a overlay 1 store dirty)" 'ok 0' 'committed'
gone a
vd a 16384 "overlay ( block /dev/mapper/${VD}s ) ( block $base )"
is "$(letter "$a" 0)$(letter "$a" 8)$(letter "$a" 16)$(letter "$a" 4000)" 12b3 'nothing is lost'
gone a s

# Room is given back, but only after the commit
format "$store" --len 16384
vd a 16384 "overlay ( block $store ) ( block $base )"
put "$a" 1 65536
before=$(counter a block 1 discarded_sectors)
blkdiscard -f -l 65536 "$a"
is "$(counter a block 1 discarded_sectors)" "$before" 'not punched yet'
sync "$a"
wait_for 10 sh -c "dmsetup status ${VD}a | grep -q 'discarded_sectors=128 .* block .*discarded_sectors=128'"
is "$(counter a block 1 discarded_sectors)" "$((before + 128))" 'punched'
gone a scratch
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
