#!/bin/bash
# concat and dm-linear, and a single leaf and dm-linear, read each other's bytes, and look the same.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512 discard=1 poll_queues=1
null_disk 4 512 discard=1 poll_queues=1
null_disk 8 4096 discard=1
a=${disks[0]} b=${disks[1]} c=${disks[2]}
ops=(-n 150 -d 4 -z 4 -f 3 -w 20 -m 512)

# both NAME SECTORS STACK TARGET...: the peer's table has the same bytes and the same queue
both() {
	local name=$1 sectors=$2 stack=$3
	shift 3
	vd v "$sectors" "$stack"
	dm s "$(printf '%s\n' "$@")"
	verified "$name: written through vdisk" "${ops[@]}" --dump-model "$TMP/model" "/dev/mapper/${VD}v"
	verified "$name: read through the peer" --check-file "$TMP/model" "/dev/mapper/${VD}s"
	verified "$name: written through the peer" "${ops[@]}" --dump-model "$TMP/model" "/dev/mapper/${VD}s"
	verified "$name: read through vdisk" --check-file "$TMP/model" "/dev/mapper/${VD}v"
	same_queue "$name: the same queue" v s
	gone v s
}

both 'a leaf' 16384 "block $a" "0 16384 linear $a 0"
both 'a part of a leaf' 5001 "block $a start:37 len:6000" "0 5001 linear $a 37"
both 'a leaf with blocks of 4096' 8000 "block $c start:8" "0 8000 linear $c 8"
both 'nested' 16384 "concat ( concat ( concat ( block $a ) ) )" "0 16384 linear $a 0"
both 'two' 24576 "concat ( block $a ) ( block $b )" "0 16384 linear $a 0" "16384 8192 linear $b 0"
both 'odd borders' 12002 "concat ( block $a start:1 len:3001 ) ( block $b len:5001 start:99 ) ( block $a start:8000 )" \
	"0 3001 linear $a 1" "3001 5001 linear $b 99" "8002 4000 linear $a 8000"
both 'blocks of 512 and of 4096' 24000 "concat ( block $a len:8000 ) ( block $c )" \
	"0 8000 linear $a 0" "8000 16000 linear $c 0"
both 'one child striped' 16384 "striped chunk:16 ( block $a )" "0 16384 striped 1 16 $a 0"
both 'a stripe of parts' 8192 "striped chunk:16 ( block $a start:64 ) ( block $b start:128 )" \
	"0 8192 striped 2 16 $a 64 $b 128"
done_testing
