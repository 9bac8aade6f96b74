#!/bin/bash
# A stack that does not only remap shows the limits its nodes composed, after create and after every reload, and no
# capability of a leaf that its nodes do not promise.
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512 discard=1 poll_queues=1
null_disk 8 4096 discard=1
null_disk 8 512 discard=0
null_disk 8 512 discard=1 cache_size=1
small=${disks[0]} large=${disks[1]} plain=${disks[2]} cached=${disks[3]}

# shows WHAT FILE=VALUE...: files of queue/ of device a
shows() {
	local what=$1 want
	shift
	for want; do
		[[ -e $(queue a)/${want%%=*} ]] || continue
		is "$(limit a "${want%%=*}")" "${want#*=}" "$what: ${want%%=*}"
	done
}
nothing=(dax=0 zoned=none max_integrity_segments=0 atomic_write_max_bytes=0 atomic_write_unit_max_bytes=0
	zone_append_max_bytes=0 rotational=0)
memory=(logical_block_size=512 discard_granularity=4096 discard_max_bytes=2199023255040 write_zeroes_max_bytes=2199023255040
	'write_cache=write through' fua=0 io_poll=0 "${nothing[@]}")
memory=("${memory[@]/=2199023255040/=4294966784}")

vd a 8192 'ram'
shows ram "${memory[@]}"
run_ok 'ram to test over 512, with discards' reload a "0 8192 vdisk test drop_volatile ( block $small )"
shows 'test over 512' logical_block_size=512 "discard_granularity=$(<"/sys/block/${small##*/}/queue/discard_granularity")" \
	"discard_max_bytes=$(<"/sys/block/${small##*/}/queue/discard_max_bytes")" \
	"write_zeroes_max_bytes=$(<"/sys/block/${small##*/}/queue/write_zeroes_max_bytes")" \
	'write_cache=write through' "${nothing[@]}"
verified 'test over 512' -n 300 -d 5 -z 5 -f 2 -w 20 --verify "/dev/mapper/${VD}a"
run_ok 'to test over a device without discards' reload a "0 8192 vdisk test ( block $plain )"
shows 'no discards' logical_block_size=512 discard_max_bytes=0 "${nothing[@]}"
run_fails 'and none are taken' blkdiscard "/dev/mapper/${VD}a"
run_ok 'one child without takes them from all' reload a "0 8192 vdisk test ( striped chunk:8 ( block $small ) ( block $plain ) )"
shows 'one without' discard_max_bytes=0
run_ok 'to a write cache' reload a "0 8192 vdisk test ( striped chunk:8 ( block $small ) ( block $cached ) )"
shows 'write cache' 'write_cache=write back'
[[ $VDISK_KERNEL == 6.1 ]] || shows 'striped below' chunk_sectors=8 minimum_io_size=4096 optimal_io_size=8192
run_ok 'back to ram' reload a '0 8192 vdisk ram'
if [[ $VDISK_KERNEL == 6.1 ]]; then
	# dm core of 6.1 turns a write cache on, never off.
	shows 'ram again' "${memory[@]/write_cache=*/logical_block_size=512}"
else
	shows 'ram again' "${memory[@]}"
fi

# A live device must not get larger blocks; a smaller one it may.
scratch=a
refused 'test: block size 4096: the live disk has 512, and its users rely on that' "test drop_volatile ( block $large )"
refused 'block: block size 4096: the live disk has 512, and its users rely on that' "block $large drop_volatile"
refused 'concat: block size 4096: the live disk has 512, and its users rely on that' "concat drop_volatile ( block $small len:8 ) ( block $large )"
refusals
dmsetup clear "${VD}a"
gone a
vd a 8192 "test ( block $large )"
shows 'test over 4096' logical_block_size=4096 physical_block_size=4096
verified 'test over 4096' -n 300 -d 5 -f 2 --verify "/dev/mapper/${VD}a"
run_ok '4096 to 4096' reload a "0 8192 vdisk block $large"
run_ok '4096 to 512' reload a '0 8192 vdisk ram'
shows '4096 to 512' logical_block_size=512
gone a
vd a 8192 "striped chunk:8 ( ram ) ( block $large )"
shows 'ram and 4096' logical_block_size=4096 "${nothing[@]}"
done_testing
