#!/bin/bash
# What an overlay need not change anything for passes to its device at once: which bios do so, on which stacks, that they see the same
# bytes as those that take the other way, and that they are counted.
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_KPROBE_EVENTS
load_vdisk
for ((i = 0; i < 6; i++)); do
	null_disk 8 512 discard=1
done
base=${disks[0]} store=${disks[1]}
a=/dev/mapper/${VD}a
trace=/sys/kernel/tracing
[[ -d $trace/events ]] || mount -t tracefs nodev $trace
undo=("echo 0 >$trace/events/enable; echo >$trace/kprobe_events" "${undo[@]}")
echo 'p:vd/long dm_vdisk:vdisk_map_io' >$trace/kprobe_events
echo 1 >$trace/events/vd/enable

# long COMMAND...: how many bios did not pass
long() {
	echo >$trace/trace
	"$@" >/dev/null 2>&1
	grep -c ' long: ' $trace/trace
}
reads() { dd if=$a of=/dev/null bs=4k count=8 iflag=direct skip="$1"; }
writes() { dd if=/dev/zero of=$a bs=4k count=8 oflag=direct seek="$1" "${@:2}"; }

# passes STACK ABSENT DURABLE: its first sectors get present, the others stay absent; how many of eight do not pass that read these,
# or that write what is to be durable
passes() {
	vd a 8192 "$1"
	is "$(long writes 0)" 8 "$1: first writes do not pass"
	is "$(long writes 0)" 0 'but those that write over them'
	is "$(long reads 0)" 0 'and reads of what is there'
	is "$(long reads 16)" "$2" 'or absent'
	# And a flush of each, where it is
	is "$(long writes 0 oflag=direct,dsync)" "${3:-0}" 'not if they are to be durable'
	is "$(long reads 4)" "$(($2 ? 4 : 0))" 'each of its own, of eight half present'
	blkdiscard -o 0 -l 16384 $a
	is "$(long reads 0)" 4 'zeroes are read as ever'
	gone a
	blkdiscard "$store"
}
passes "overlay volatile ( block $store ) ( block $base )" 0
passes "overlay volatile ( block $store ) ( concat ( block $base len:4096 ) ( block ${disks[2]} len:4096 ) )" 0
passes "concat ( overlay volatile ( block $store ) ( block $base ) )" 0
passes "overlay volatile ( block $store ) ( overlay volatile ( ram ) ( block $base ) )" 0
passes "overlay volatile ( block $store ) ( delay ( block $base ) )" 8
vdisk format "$store" --len 4M --force >/dev/null
passes "overlay ( block $store ) ( block $base )" 0 16

# Where not all is of one kind, or something has to be known of each
for stack in "overlay volatile ( ram ) ( block $base )" "overlay volatile copy_on_read ( block $store ) ( block $base )" \
	"test ( overlay volatile ( block $store ) ( block $base ) )"; do
	vd a 8192 "$stack"
	writes 0 2>/dev/null
	is "$(long writes 0) $(long reads 0)" '8 8' "$stack: none passes"
	gone a
done

# The same bytes: pieces of two overlays, of stores in two parts, and an overlay as a store
echo 0 >$trace/events/vd/enable
for stack in "concat ( overlay volatile ( block $store len:4096 ) ( block $base len:4096 ) ) ( overlay volatile ( block ${disks[2]} len:4096 ) ( block ${disks[3]} ) )" \
	"striped chunk:8 ( overlay volatile ( block $store ) ( block $base ) ) ( overlay volatile ( block ${disks[2]} ) ( block ${disks[3]} ) )" \
	"overlay volatile ( striped chunk:32 ( block $store len:4096 ) ( block ${disks[2]} len:4096 ) ) ( concat ( block $base len:4104 ) ( block ${disks[3]} len:4088 ) )" \
	"overlay volatile ( overlay volatile ( block $store ) ( block ${disks[4]} ) ) ( overlay volatile ( block ${disks[2]} ) ( block $base ) )"; do
	vd a 8192 "$stack"
	verified "$stack" -n 600 -m 512 -f 2 -w 30 -u 10 -d 3 -z 3 --discard-zeroes --verify $a
	gone a
done

# What passes is counted, and so are its errors
vd a 8192 "overlay volatile ( block $store ) ( block $base )"
writes 0 2>/dev/null
writes 0 2>/dev/null
reads 0 2>/dev/null
reads 16 2>/dev/null
is "$(counter a block 1 reads read_sectors writes written_sectors errors) $(counter a block 2 reads read_sectors writes)" \
	'8 64 16 128 0 8 64 0' 'counters of store and base'
echo +0-7 >"/sys/kernel/config/nullb/${null_disks[1]}/badblocks"
reads 0 2>/dev/null
is "$? $(counter a block 1 reads errors) $(counter a block 2 errors)" '1 9 1 0' 'an error of the store'
gone a
done_testing
