#!/bin/bash
# Every operation fails with the status of the child that failed, whichever of several it is, and nothing is left behind.
# check: 7.3
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_FLAKEY
load_vdisk
a=/dev/mapper/${VD}a
# Three good leaves of each kind, and three that fail: io has flushes and discards, medium has write zeroes.
for i in 0 1 2; do
	null_disk 8 512 discard=1 cache_size=1
	dm "io-good$i" "0 4096 linear $DISK 0"
	dm "io-bad$i" "0 4096 flakey $DISK 4096 0 1000"
	vd "medium-good$i" 4096 ram
	vd "medium-bad$i" 4096 'test mode:fail ( ram )'
done
declare -A says=([medium]='No data available' [io]='Input/output error')

# attempt OP: over all that there is
attempt() {
	case $1 in
	write) error timeout 30 dd if=/dev/zero of="$a" bs=60k count=1 oflag=direct ;;
	read) error timeout 30 dd if="$a" of=/dev/null bs=60k count=1 iflag=direct ;;
	flush) error timeout 30 sync "$a" ;;
	discard) error timeout 30 blkdiscard -f "$a" ;;
	zeroout) error timeout 30 blkdiscard -f -z "$a" ;;
	esac
}
# leaf N OPTION...: the N-th, $bad is the one that fails
leaf() { echo "( block /dev/mapper/$VD$kind-$([[ $1 == "$bad" ]] && echo bad || echo good)$1 ${*:2} )"; }
leaves() { echo "$(leaf 0 "$@") $(leaf 1 "$@") $(leaf 2 "$@")"; }

for kind in io medium; do
	ops=(write read discard zeroout)
	[[ $kind == medium ]] || ops+=(flush)
	for bad in 0 1 2; do
		for stack in "striped chunk:8 $(leaves)" "concat $(leaves len:40)" "test mode:read ( striped chunk:8 $(leaves) )" \
			"concat $(leaves len:40 | sed 's/( block [^)]*)/( test mode:read up & )/g')" \
			"test piece:1 mode:work up ( concat $(leaves len:40) )"; do
			name="$kind, $bad: ${stack//$VD/}"
			vd a 120 "$stack"
			said='' want=''
			for op in "${ops[@]}"; do
				said+="$op: $(attempt "$op"), "
				want+="$op: ${says[$kind]}, "
			done
			is "$said" "$want" "$name"
			timeout 60 dmsetup suspend "${VD}a" && dmsetup resume "${VD}a" && timeout 60 dmsetup remove "${VD}a"
			ok $? "$name: nothing is stuck"
		done
	done
done

# One of the bios for the same child: its n-th chunk fails.
for n in 0 3 14; do
	bad=none kind=io
	table="$((8 * n)) 8 error
$((8 * n + 8)) $((120 - 8 * n)) linear ${disks[0]} $((8 * n + 8))"
	((!n)) || table="0 $((8 * n)) linear ${disks[0]} 0
$table"
	dm torn "$table"
	for stack in "test piece:8 ( block /dev/mapper/${VD}torn )" "test mode:read piece:8 ( concat ( block /dev/mapper/${VD}torn ) )" \
		"striped chunk:8 ( test piece:3 mode:work up ( block /dev/mapper/${VD}torn ) )"; do
		vd a 120 "$stack"
		for op in write read; do
			is "$(attempt "$op")" "${says[io]}" "chunk $n, $op: ${stack//$VD/}"
		done
		run_ok "chunk $n: the next one can be read: ${stack//$VD/}" dd if="$a" of=/dev/null bs=4k count=1 \
			skip=$(((n + 1) % 15)) iflag=direct
		timeout 60 dmsetup remove "${VD}a"
		ok $? "chunk $n: nothing is stuck: ${stack//$VD/}"
	done
	gone torn
done
done_testing
