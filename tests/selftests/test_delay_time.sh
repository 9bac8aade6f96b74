#!/bin/bash
# delay: nothing comes early, each class waits for itself, equal latencies keep their order, percentiles follow the seed.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512 discard=1 cache_size=1
a=/dev/mapper/${VD}a
field() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" <<<"$out"; }
# measure DELAYIO_ARGUMENT...
measure() {
	out=$(delayio "$@" "$a" 2>&1) || comment "delayio $*: $out"
}

# Each class for itself: it waits at least as long, and the others do not. What does not wait may still be slow here.
ops=(read write flush discard zeroes)
for class in read write flush discard; do
	for op in "${ops[@]}"; do
		# null_blk has a cache to flush, memory can write zeroes.
		[[ $op == flush ]] && leaf="block $DISK" || leaf=ram
		vd a 8192 "delay $class:300ms ( $leaf )"
		measure -n 3 "$op"
		gone a
		same=$op
		[[ $op != zeroes ]] || same=discard
		if [[ $same == "$class" ]]; then
			ok "$(($(field min) < 300000))" "$class:300ms: $op is not early"
		else
			ok "$(($(field min) >= 300000))" "$class:300ms: $op does not wait"
		fi
		comment "$op: $out"
	done
done

# Flush and data of one request are two bios: each has its own latency.
vd a 8192 "delay write:100ms flush:200ms ( block $DISK )"
start=$(date +%s%N)
dd if=/dev/zero of="$a" bs=512 count=1 oflag=direct conv=fsync status=none
ok "$((($(date +%s%N) - start) / 1000000 < 300))" 'a write and its flush: both latencies'
gone a

# Never early, and how late: many latencies, alone and many at once
vd a 8192 'delay ( ram )'
for us in 1 50 200 1000 5000 20000; do
	dmsetup message "${VD}a" 0 delay set "read:${us}us"
	measure -n 200 read
	ok "$(($(field min) < us))" "$us us: never early"
	comment "$us us, one by one: $out"
	error=$(($(field median) - us))
	measure -n 200 -b "$us" sleep
	comment "median error of $us us: $error us, of which a bare nanosleep has $(($(field median) - us)) us"
done
for us in 200 20000 500000; do
	dmsetup message "${VD}a" 0 delay set "write:${us}us"
	measure -n 2000 -a write
	ok "$(($(field min) < us))" "$us us, 2000 at once: never early"
	is "$(field inversions) $(field failed)" '0 0' "$us us, 2000 at once: in order"
	comment "$us us, 2000 at once: $out"
done
# An io with a short latency overtakes
dmsetup message "${VD}a" 0 delay set write:2s
dmsetup message "${VD}a" 0 delay set read:1ms
delayio -n 50 -a write "$a" >"$TMP/slow" &
wait_for 10 grep -q submitted "$TMP/slow"
measure -n 5 read
is "$(counter a delay 1 held)" 50 'a short latency overtakes a long one'
wait "$!"
is $? 0 'which ends, too'
gone a

# Percentiles: which ios are slow follows from the seed alone; a bash model of the generator says which. A machine may be
# so slow that others seem to be, but none may be too fast.
# draw: the next of 0..99999
draw() {
	local x
	state=$((state + 0x9e3779b97f4a7c15))
	x=$(((state ^ (state >> 30 & 0x3ffffffff)) * 0xbf58476d1ce4e5b9))
	x=$(((x ^ (x >> 27 & 0x1fffffffff)) * 0x94d049bb133111eb))
	x=$((x ^ (x >> 31 & 0x1ffffffff)))
	drawn=$(((x >> 32 & 0xffffffff) * 100000 >> 32))
}
for seed in '' 0 1 18446744073709551615; do
	vd a 8192 "delay read:10us/60ms@50/250ms@87.5 ${seed:+seed:$seed} ( ram )"
	measure -n 60 -o "$TMP/latencies" read
	state=${seed:-0}
	((${#state} < 20)) || state=-1
	early=0 late=0 slow=0 drawn=0
	while read -r ns; do
		draw
		want=$((drawn < 50000 ? 10000 : drawn < 87500 ? 60000000 : 250000000))
		next=$((drawn < 50000 ? 60000000 : drawn < 87500 ? 250000000 : 1000000000000))
		((want != 250000000)) || slow=$((slow + 1))
		((ns >= want)) || early=$((early + 1))
		((ns < next)) || late=$((late + 1))
	done <"$TMP/latencies"
	is "$early" 0 "seed:$seed: none early"
	ok "$((late > 20 || slow == 0))" "seed:$seed: $late look later than drawn"
	comment "$slow of 60 slow; $out"
	gone a
done
done_testing
