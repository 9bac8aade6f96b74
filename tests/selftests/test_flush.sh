#!/bin/bash
# A flush reaches each device once; a durable write (FUA) is durable where it was written.
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
for _ in 1 2 3; do
	null_disk 8 512 cache_size=1
done
# How many flushes the devices had: field 16 of stat
flushes() {
	local disk
	for disk in "${disks[@]}"; do
		awk '{ printf "%d ", $16 }' "/sys/block/${disk##*/}/stat"
	done
}
# since BEFORE: flushes since then
since() { paste -d ' ' <(tr ' ' '\n' <<<"$1") <(flushes | tr ' ' '\n') | awk 'NF == 2 { printf "%d ", $2 - $1 }'; }

a=/dev/mapper/${VD}a
for stack in "striped chunk:8 $(children 3)" "concat $(children 3 len:1000)" "test ( striped chunk:8 $(children 3) )" \
	"test mode:work up ( concat $(children 3 len:1000) )" "striped chunk:8 $(children 3 | sed 's/( block [^)]*)/( test mode:work & )/g')" \
	"test piece:8 ( striped chunk:16 ( concat ( block ${disks[0]} ) ) ( concat ( test up ( block ${disks[1]} ) ) ) ( block ${disks[2]} ) )"; do
	vd a 2400 "$stack"
	is "$(limit a write_cache)" 'write back' "$stack: has a write cache"
	before=$(flushes)
	dd if=/dev/zero of="$a" bs=64k count=2 oflag=direct status=none
	is "$(since "$before")" '0 0 0 ' "$stack: writes flush nothing"
	dd if=/dev/zero of="$a" bs=64k count=1 oflag=direct conv=fsync status=none
	is "$(since "$before")" '1 1 1 ' "$stack: a flush reaches each device"
	is "$(for i in 1 2 3; do counter a block "$i" flushes; done | tr '\n' ' ')" '1 1 1 ' "$stack: and is counted"
	before=$(flushes)
	dd if=/dev/zero of="$a" bs=512 count=1 oflag=direct,dsync status=none
	read -r first _ <<<"$(since "$before")"
	ok "$((first == 0 && $(limit a fua) == 0))" "$stack: a durable write is durable where it went"
	gone a
done

# A device that is there twice is flushed once where the stack only remaps, as dm-linear would.
vd a 2400 "striped chunk:8 ( block ${disks[0]} ) ( block ${disks[0]} start:8000 ) ( block ${disks[1]} )"
before=$(flushes)
dd if=/dev/zero of="$a" bs=64k count=1 oflag=direct conv=fsync status=none
is "$(since "$before")" '1 1 0 ' 'a device that is there twice'
gone a

vd a 2400 'striped chunk:8 ( ram ) ( zero )'
run_ok 'memory: a flush is nothing' dd if=/dev/zero of="$a" bs=64k count=1 oflag=direct conv=fsync
done_testing
