#!/bin/bash
# INFO prints the tree with counters of each node, equal to the I/O that was done.
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512 discard=1 cache_size=1
null_disk 8 512 discard=1 cache_size=1
a=/dev/mapper/${VD}a

# counts TYPE N READS SECTORS WRITES SECTORS DISCARDS SECTORS FLUSHES
counts() {
	is "$(counter a "$1" "$2" reads read_sectors writes written_sectors discards discarded_sectors flushes)" \
		"${*:3}" "$what: $1 $2"
}

for what in '' 'test ' 'test mode:work '; do
	stack="striped chunk:8 label:s $(children 2)"
	[[ ! $what ]] || stack="${what}( $stack)"
	vd a 16384 "$stack"
	what=${what:-plain }
	dd if="$a" of=/dev/null bs=4k count=10 iflag=direct status=none
	dd if=/dev/zero of="$a" bs=8k count=3 oflag=direct status=none
	dd if=/dev/zero of="$a" bs=4k count=2 seek=5 oflag=direct conv=fsync status=none
	blkdiscard -f -l 65536 "$a"
	counts block 1 5 40 4 32 1 64 1
	counts block 2 5 40 4 32 1 64 1
	counts striped 1 10 80 8 64 2 128 2
	[[ $what == plain* ]] || counts test 1 10 80 8 64 2 128 2
	is "$(counter a block 1 len) $(counter a striped 1 len)" '8192 16384' "$what: lengths"
	status a | grep -q 'striped chunk:8 label:s len=.* ( block [0-9]*:[0-9]* len=.*) ( block .*)'
	ok $? "$what: the same tree as TABLE"
	gone a
done
done_testing
