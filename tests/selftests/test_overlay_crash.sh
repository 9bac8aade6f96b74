#!/bin/bash
# overlay: all workloads of three operations, and every state that a loss of power can leave of each: nothing that was flushed is
# lost, nothing is mixed or foreign, no leaf is damaged. See crashcut.c.
# timeout: 400
# kernels: 6.12 7.3
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_LOG_WRITES
load_vdisk
for unit in 512 4096; do
	disks=()
	len=$((2 * 1984 * unit / 512))
	null_disk 16 "$unit"
	null_disk 20 "$unit" discard=1
	null_disk 200 "$unit"
	read -r base store log <<<"${disks[*]}"
	crashcut paint "$unit" base "$base" 0
	for options in '' 'copy_on_read fill:1'; do
		((unit == 512)) || [[ ! $options ]] || continue
		name="blocks of $unit${options:+, $options}"
		mkstore format "$store" --len $len --unit "$unit"
		crashcut paint "$unit" stale "$store" 2048
		dd if="$store" of="$TMP/before" bs=1M iflag=direct status=none
		dm s "0 $(sectors "$store") log-writes $store $log"
		vd a $len "overlay $options ( block /dev/mapper/${VD}s ) ( block $base )"
		run_ok "$name: all workloads" crashcut run "$unit" "/dev/mapper/${VD}a" "${VD}s"
		gone a s
		run_ok "$name: every state is right" crashcut check "$unit" "$TMP/before" "$log" "$TMP/states"
		comment "$(<"$TMP/states")"
		read -r workloads states sampled _ <"$TMP/states"
		is "$workloads" 343 "$name: of all workloads"
		ok $((states < 10000)) "$name: there are some"
		((unit > 512)) || is "$sampled" 0 "$name: every one"
	done
done
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
