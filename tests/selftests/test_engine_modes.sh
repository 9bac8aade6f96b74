#!/bin/bash
# Nodes that defer, split, read by themselves and delay completions, over and under all others: no wrong byte.
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512 discard=1
null_disk 8 512 discard=1
null_disk 8 4096 discard=1
a="block ${disks[0]}" b="block ${disks[1]}" c="block ${disks[2]}"
# As deep as a stack may be: each node has its frame, on the way down and up, and no worker is between them.
deep=$a deep_up=$a
for n in {1..15}; do
	deep="test piece:$((n * 8)) ( $deep )"
	deep_up="test piece:$((n * 8)) up ( $deep_up )"
done
for stack in "$deep" "$deep_up" \
	"test mode:work ( $a )" \
	"test mode:timer period:1ms ( ram )" \
	"test mode:read ( $a )" \
	"test mode:pass piece:1 ( $a )" \
	"test mode:work piece:8 up ( ram )" \
	"test mode:read piece:24 up ( striped chunk:8 ( $a ) ( $b ) )" \
	"striped chunk:24 ( test mode:work piece:8 ( $a ) ) ( test up ( $c ) )" \
	"striped chunk:5 ( ram ) ( test mode:timer period:100us up ( $b ) ) ( $a )" \
	"concat ( test mode:work ( $a start:9 len:3999 ) ) ( test piece:5 up ( $b len:777 ) ) ( ram )" \
	"test piece:16 up ( test piece:8 mode:work ( test piece:24 ( test piece:40 mode:read up ( striped chunk:8 ( $c ) ( test mode:work ( ram ) ) ) ) ) )" \
	"test piece:7 up ( striped chunk:5 ( concat ( striped chunk:2 ( $a len:1000 ) ( $b len:1000 ) ) ( ram ) ) ( test mode:read ( $a start:8000 ) ) )"; do
	vd a 8160 "$stack" || ok $? "loads: $stack"
	verified "$stack" -n "${VDISK_OPS:-300}" -d 5 -z 5 -f 3 -w 10 -u 5 -m 512 --verify "/dev/mapper/${VD}a"
	stat=$(status a)
	is "$(grep -o 'errors=[0-9]*' <<<"$stat" | sort -u)" errors=0 "$stack: no errors"
	gone a
done
done_testing
