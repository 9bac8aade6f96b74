#!/bin/bash
# blob: every byte that a helper supplies arrives where it belongs, by any number of threads, files, pieces and ways to call.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 7.3
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/blob.sh
. "$selftests/blob.sh"

load_vdisk
image 8
ro a "blob img len:$len"

serves() {
	local name=$1
	shift
	helper "$@" img
	compared "$name" a -n "${VDISK_OPS:-300}" --seed "$RANDOM"
	dead
}
serves 'one thread'
serves '4 threads, one request per call' -t 4 -b 1
serves '4 threads on 2 files, in pieces' -t 4 --files 2 --piece 1536
serves 'io_uring' -t 2 --uring
serves 'units of 64 KiB, short requests' -t 2 --unit 65536 --max 65536
serves 'few requests at a time, with latency' -t 2 -b 1 --depth 2 --delay 2
serves 'more than was asked, and pushes' -t 2 --more --push
serves 'memory that is not mapped' -t 2 --cold

helper -t 2 --unit 4096 img
run_ok 'sequential: the same bytes' cmp /dev/mapper/"${VD}a" "$image"
read -r waiting held failed lost < <(counter a blob 1 waiting held failed lost)
is "$waiting $held $failed $lost" '0 0 0 0' 'nothing is left'
served=$(counter a blob 1 served)
histogram=$(counter a blob 1 latency | tr , '\n' | awk '{ sum += $1 } END { print NR, sum }')
is "$histogram" "20 $served" 'the histogram has them all'
is "$(counter a blob 1 refused)" 0 'nothing was refused'
dead

# What is concurrent and the same is asked for once; what touches is one request.
before=$(counter a blob 1 requests)
readers=()
for i in {1..8}; do
	dd if=/dev/mapper/"${VD}a" of="$TMP/dd$i" bs=4096 count=1 skip=$((i % 2 + 8)) iflag=direct 2>/dev/null &
	readers+=($!)
done
wait_for 30 is_count waiting 8 a
ok $? 'misses: 8 wait'
helper img
wait "${readers[@]}"
is "$(($(counter a blob 1 requests) - before))" 1 'misses: 2 neighbours, each 4 times, are one request'
for i in {1..8}; do
	cmp -n 4096 -i "0:$(((i % 2 + 8) * 4096))" "$TMP/dd$i" "$image" || break
done
is "$i" 8 'misses: all have their bytes'
dead

# Who waits goes before read-ahead, and that before what is idle.
readers=()
ionice -c 3 dd if=/dev/mapper/"${VD}a" of=/dev/null bs=4096 count=1 skip=100 iflag=direct 2>/dev/null &
readers+=($!)
wait_for 30 is_count waiting 1 a
dd if=/dev/mapper/"${VD}a" of=/dev/null bs=4096 count=1 skip=200 iflag=direct 2>/dev/null &
readers+=($!)
wait_for 30 is_count waiting 2 a
exec {fd}<>/dev/vdisk
is "$(blobd --peek --fd "$fd" img "$image")" '0 819200 4096;2 409600 4096' 'priority: who waits first'
exec {fd}>&-
helper img
wait "${readers[@]}"
dead

# What hydrates goes behind all that, unless it is told to be as urgent as who waits.
for priority in idle normal; do
	ro c "cache volatile fill:8 read_ahead:0 ( ram ) ( blob h len:$len )"
	dmsetup message "${VD}c" 0 cache hydrate start 8 $priority
	wait_for 30 is_count waiting 1 c
	exec {fd}<>/dev/vdisk
	said=$(blobd --peek --fd "$fd" h "$image")
	[[ $priority == idle ]]
	is "${said%% *}" $((!$? * 2)) "hydration, $priority: what the helper is told"
	is "$(counter c cache 1 priority)" "$priority" 'and the status'
	exec {fd}>&-
	helper h
	run_ok 'it goes on' wait_for 30 is_count waiting 0 c
	dmsetup message "${VD}c" 0 cache hydrate stop
	dead
	gone c
done

# A blob is only read.
run_fails 'a write' dd if="$image" of=/dev/mapper/"${VD}a" bs=4096 count=1 oflag=direct
gone a
run_fails 'a table that could be written is refused' vd a "$len" "blob img len:$len"
vd a "$len" "overlay volatile ( ram ) ( blob img len:$len )"
helper -t 2 img
run_ok 'below an overlay: written' dd if="$image" of=/dev/mapper/"${VD}a" bs=64k count=4 seek=8 oflag=direct
run_ok 'below an overlay: read' cmp -n 1048576 -i 1048576 /dev/mapper/"${VD}a" "$image"
dead
gone a
# Who goes live reads its stores, and must not wait for a helper.
scratch
for stack in "overlay ( zero ) ( overlay ( blob img len:$len ) ( zero ) )" "pr domain:d nexus:n ( zero ) ( blob img len:$len )" \
	"cache ( crypt cipher:aes-xts-plain64 key::32:user:none ( blob img len:$len ) ) ( zero )"; do
	dmesg -C
	! printf '0 8 vdisk %s\n' "$stack" | dmsetup load --readonly "$VD$scratch" >/dev/null 2>&1
	ok $? "refused: $stack"
	dmesg | grep -q 'blob: is no store'
	ok $? 'it says why'
done
gone "$scratch"
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
