#!/bin/bash
# The message hydrate: what is absent is read from the base and kept, while the disk is used. When that is done the base is not
# needed any more, and the store says so; before, nothing says so.
# timeout: 600
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 4 512
null_disk 16 512 discard=1
null_disk 200 512
null_disk 16 512
base=${disks[0]} store=${disks[1]} log=${disks[2]} replayed=${disks[3]}
a=/dev/mapper/${VD}a
len=8192
vr() { dmsetup create "$VD$1" --readonly --table "0 $2 vdisk $3"; }
hydrate() { dmsetup message "${VD}a" 0 "$node" hydrate "$@"; }
is_now() { [[ $(counter a "$node" 1 hydrate) == "$1" ]]; }
asked() { status a | grep -o ' reads=[0-9]*' | tail -n 1 | cut -d = -f 2; }
full() { vdisk dump --force-share "$1" | grep -q 'flags.* full'; }
# told NAME COMMAND...: what a message is refused for
told() {
	dmesg -C
	! "${@:2}" 2>/dev/null
	ok $? "$1: refused"
	dmesg | grep -qF "$1"
	ok $? "$1"
}

verified 'a base' -n 200 -m 512 -r 0 --size $((len * 512)) --dump-model "$TMP/base" "$base"

# Each block once, and an event when it is over
node=cache
vr a $len "cache volatile fill:64 read_ahead:0 ( ram ) ( block $base )"
is "$(counter a cache 1 hydrate)" off 'nobody has asked'
dd if="$a" of=/dev/null bs=512 skip=1000 count=1 iflag=direct status=none
before=$(events)
hydrate start
wait_for 200 is_now 'done'
is "$(counter a cache 1 data fills dropped hydrate)" "$len $((len / 64)) 0 done" 'all blocks'
is "$(asked)" $((len / 64)) 'each was read once'
is "$(events)" $((before + 1)) 'one event'
verified 'the same bytes' --check-file "$TMP/base" "$a"
is "$(asked)" $((len / 64)) 'and the base is not asked for them'
gone a

# A rate; stop; start again; a suspend in between; a new table
vr a $len "cache volatile fill:64 read_ahead:0 label:c ( ram label:r ) ( block $base )"
start=$SECONDS
hydrate start 1024
wait_for 200 sh -c "[ \$(dmsetup status ${VD}a | grep -o 'data=[0-9]*' | cut -d = -f 2) -ge 2048 ]"
ok $((SECONDS - start < 1)) 'no faster than its rate'
hydrate stop
is "$(counter a cache 1 hydrate)" off 'stopped'
dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"
before=$(counter a cache 1 data)
sleep 1
is "$(counter a cache 1 data) $((before < len))" "$before 1" 'it stays stopped'
hydrate start 2048
dmsetup suspend "${VD}a"
before=$(counter a cache 1 data)
sleep 1
is "$(counter a cache 1 data hydrate)" "$before on" 'nothing while suspended'
hydrate start 4096 normal
dmsetup resume "${VD}a"
dmsetup load --readonly "${VD}a" \
	--table "0 $len vdisk cache volatile fill:8 read_ahead:0 label:c ( ram label:r ) ( test mode:work ( block $base ) )"
dmsetup suspend "${VD}a" && dmsetup resume "${VD}a"
wait_for 200 is_now 'done'
is "$(counter a cache 1 data hydrate priority)" "$len done normal" 'a new table goes on'
verified 'the same bytes' --check-file "$TMP/base" "$a"
gone a

# However long the disk is, what a block takes to be found is the same. Here are 34 million leaves, none of which there is.
vr a $((1 << 36)) 'cache volatile fill:128 read_ahead:0 ( zero ) ( zero )'
hydrate start normal
wait_for 60 sh -c "[ \$(dmsetup status ${VD}a | grep -o 'data=[0-9]*' | cut -d = -f 2) -ge $((1000 * 128)) ]"
ok $? 'a long disk: 1000 blocks'
hydrate stop
gone a

# What cannot be read: it says so, and all else is there. Mended, another start does the rest.
dm s "0 100 linear $base 0
100 1 error
101 $((len - 101)) linear $base 101"
vr a $len "cache volatile fill:8 read_ahead:0 ( ram ) ( block /dev/mapper/${VD}s )"
hydrate start
wait_for 200 is_now failed
is "$(counter a cache 1 data)" $((len - 8)) 'all but the bad block'
reload s "0 $len linear $base 0"
hydrate start
wait_for 200 is_now 'done'
is "$(counter a cache 1 data)" $len 'mended'
gone a s

# The store fails
dm s "0 $len error"
vr a $len "cache volatile fill:64 read_ahead:0 ( block /dev/mapper/${VD}s ) ( block $base )"
hydrate start
wait_for 200 is_now failed
is "$(counter a cache 1 data store)" '0 failed' 'a store that fails'
ok $(($(asked) >= len / 64)) 'then the base is not read any more for it'
told 'hydrate: the store has failed' hydrate start
verified 'it is done without' --check-file "$TMP/base" "$a"
gone a s

# A write that holds the only leaf, until the store goes on
node=overlay
dm s "0 $len linear $store 0"
vd a 64 "overlay volatile copy_on_read fill:8 read_ahead:0 ( block /dev/mapper/${VD}s ) ( block $base )"
dmsetup suspend --noflush "${VD}s"
put "$a" w 512 &
wait_for 20 sh -c "dmsetup status ${VD}a | grep -q 'leaves=1'"
hydrate start
wait_for 20 sh -c "[ \$(dmsetup status ${VD}a | grep -o 'dropped=[0-9]*' | cut -d = -f 2) -ge 16 ]"
is "$(counter a overlay 1 hydrate)" on 'a write is under way: it goes on'
dmsetup resume "${VD}s"
wait_for 60 is_now 'done'
is "$(counter a overlay 1 data hydrate)" '64 done' 'and comes to its end'
wait
gone a s

# While the guest writes, reads and discards; then the base goes, under load
mkstore format "$store" --len $len --max-len 12000
stack="overlay copy_on_read fill:24 ( block $store )"
vd a $len "$stack ( delay read:200us ( block $base ) )"
# shellcheck disable=SC2317 # called by under_load
detached() {
	(($1)) || { hydrate start && wait_for 200 is_now 'done' && full "$store"; } || { status a && return 1; }
	reload a "0 $len vdisk $stack ( zero )"
}
rounds=4
under_load 'hydrated and detached under load' detached -d 8 -z 8 -f 4 -u 10 -w 20 -r 60 --discard-zeroes --known "$TMP/base" \
	--dump-model "$TMP/model"
gone a
vd a $len "$stack ( zero )"
verified 'there again, without the base' --check-file "$TMP/model" "$a"
gone a
run_ok 'the store is clean' vdisk check "$store"
told 'store: has no base any more: it is zero' vd a $len "$stack ( block $base )"

# Without hydration, zeroes do not take the place of a base
mkstore format "$store" --len $len --base-len $len
told 'store: is of a base of 8192 sectors' vd a $len "$stack ( zero )"

# A table shorter than the disk of its store walks over a part of it, which proves nothing
mkstore format "$store" --len $len
vd a 4000 "overlay copy_on_read ( block $store ) ( block $base )"
told "hydrate: the store is of a disk of $len sectors, this one has 4000" hydrate start
reload a "0 $len vdisk overlay copy_on_read ( block $store ) ( block $base )"
hydrate start 2048
reload a "0 4000 vdisk overlay copy_on_read ( block $store ) ( block $base )"
wait_for 100 is_now failed
is "$(counter a overlay 1 hydrate)" failed 'made shorter meanwhile: it says so'
gone a
! full "$store"
ok $? 'and the superblock does not say full'

# A base that ends in a unit, and a disk that grows into its base
for unit in 512 4096; do
	mkstore format "$store" --len 4000 --max-len $len --unit "$unit"
	vd a 4000 "overlay unit:$unit copy_on_read ( block $store ) ( concat ( block $base len:1000 ) ( block $base start:1000 len:999 ) )"
	hydrate start
	wait_for 200 is_now 'done'
	gone a
	is "$(vdisk check --json "$store" | jq -r '.. | .absent? // empty' | head -n 1)" "$((unit == 512 ? 2001 : 250))" "unit $unit: what is absent is behind the base"
	run_ok "unit $unit: clean all the same" vdisk check "$store"
	vd a 4000 "overlay unit:$unit ( block $store ) ( zero )"
	run_ok "unit $unit: bytes" cmp -n $((1999 * 512)) "$base" "$a"
	gone a
done
mkstore format "$store" --len 4000 --max-len $len
vd a 4000 "overlay copy_on_read ( block $store ) ( block $base )"
hydrate start
wait_for 200 is_now 'done'
run_ok 'longer' reload a "0 $len vdisk overlay copy_on_read ( block $store ) ( block $base )"
told 'store: is of a base' reload a "0 $len vdisk overlay copy_on_read ( block $store ) ( zero )"
reload a "0 $len vdisk overlay copy_on_read ( block $store ) ( block $base )"
hydrate start
wait_for 200 is_now 'done'
run_ok 'when the rest is there, too' reload a "0 $len vdisk overlay copy_on_read ( block $store ) ( zero )"
run_ok 'bytes' cmp -n $((len * 512)) "$base" "$a"
gone a

# A cut at any flush: full only if all is there
if has_config CONFIG_DM_LOG_WRITES; then
	mkstore format "$store" --len 2048
	dd if="$store" of="$replayed" bs=1M count=2 oflag=direct status=none
	dm s "0 32768 log-writes $store $log"
	vd a 2048 "overlay copy_on_read fill:128 ( block /dev/mapper/${VD}s ) ( block $base )"
	hydrate start
	wait_for 200 is_now 'done'
	dmsetup message "${VD}s" 0 mark end
	gone a s
	next=0 entry=0 bad=0 done=''
	while [[ ! $done ]]; do
		read -r entry _ < <(logreplay "$log" "$replayed" "$next" "#$((next + 1))")
		((entry > next)) || break
		next=$entry
		vdisk check "$replayed" >"$TMP/said" || bad=1
		! full "$replayed" || done=$next
	done
	is "$bad $((done > 16))" '0 1' "a cut after any of $next writes: full when all is there, and not before"
	comment "$(<"$TMP/said")"
fi

# What is not to be
vd a $len "overlay volatile ( ram ) ( block $base )"
told 'hydrate: needs copy_on_read' hydrate start
gone a
vr a $len "cache volatile ( ram ) ( block $base )"
node=cache
told "hydrate: 'x' is no number of sectors per second" hydrate start x
told "hydrate: '0' is no number" hydrate start 0
told "hydrate: 'idle' is no number" hydrate start idle normal
told 'hydrate: start [<sectors per second>] [idle|normal], or stop' hydrate start 8 8 idle
told 'hydrate: start [<sectors per second>] [idle|normal], or stop' hydrate go
told 'understands: hydrate start' dmsetup message "${VD}a" 0 cache evict now
gone a
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
