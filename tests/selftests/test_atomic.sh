#!/bin/bash
# An atomic write arrives whole or fails: no stack cuts one.
# kernels: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_SCSI_DEBUG CONFIG_BLK_DEV_SD
load_vdisk
modprobe sd_mod
modprobe scsi_debug dev_size_mb=8 atomic_wr=1
undo=('modprobe -r scsi_debug')
# shellcheck disable=SC2317 # called by wait_for
find_leaf() {
	leaf=/dev/$(basename /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*)
	[[ -b $leaf ]]
}
wait_for 20 find_leaf
ok $? 'the leaf'
a=/dev/mapper/${VD}a

# can STACK: it has atomic writes
can() {
	vd a 4096 "$1"
	comment "atomic writes of $(limit a atomic_write_unit_min_bytes) to $(limit a atomic_write_unit_max_bytes) bytes"
	ok "$(($(limit a atomic_write_unit_max_bytes) < 8192))" "$1: has atomic writes"
}
# atomic WANT SECTOR SECTORS WHAT
atomic() { is "$(atomicio "$a" "$2" "$3")" "$1" "$stack: $4"; }

stack="block $leaf"
can "$stack"
atomic ok 0 8 'one'
atomic ok 1024 16 'a longer one'
is "$(letter "$a" 1024)$(letter "$a" 1039)" aa "$stack: arrives"
gone a

# The border is where the alignment of atomic writes does not look.
stack="concat ( block $leaf len:1004 ) ( block $leaf start:4000 )"
can "$stack"
put "$a" z 16384 seek=31
atomic ok 992 8 'before the border'
atomic ok 1008 8 'behind it'
put "$a" z 16384 seek=31
atomic EINVAL 1000 8 'across it'
is "$(letter "$a" 1000)$(letter "$a" 1007)" zz "$stack: and nothing of it is written"
run_ok "$stack: others may cross it" dd if=/dev/zero of="$a" bs=4k seek=125 count=1 oflag=direct
gone a

# A chunk has room for no longer one than that.
for stack in "striped chunk:24 ( block $leaf len:4000 ) ( block $leaf start:4800 )" \
	"concat ( striped chunk:24 ( block $leaf len:4000 ) ( block $leaf start:4800 ) )"; do
	vd a 4080 "$stack"
	is "$(limit a atomic_write_unit_max_bytes)" 4096 "$stack: none that crosses chunks"
	atomic ok 0 8 'within a chunk'
	atomic ok 32 8 'within another'
	gone a
done
done_testing
