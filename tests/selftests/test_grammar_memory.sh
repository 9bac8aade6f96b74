#!/bin/bash
# The heaviest lines: a table takes bounded memory, and gives it back.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

load_vdisk
key k 64
dmsetup create "${VD}m" --notable --readonly
# With what each processor has put by for itself, some 30 MiB
available() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^MemAvailable:/ { all = $2 } $1 == "count:" { all += 4 * $2 } END { print all }' /proc/meminfo /proc/zoneinfo
}

# many N NODE: a line of so many of them, 256 nodes or one less, as children of two nodes, one of which may have 128
many() {
	local child half=$(($1 / 2))
	child=$(printf "( $2 )%.0s " $(seq "$half"))
	echo "0 $((half * 16000)) vdisk striped chunk:8 ( striped chunk:8 $child) ( striped chunk:8 $child)"
}

for line in '84 cache volatile ( ram ) ( ram )' '84 overlay volatile copy_on_read ( ram ) ( ram )' \
	"126 crypt cipher:aes-xts-plain64 key:$KEY ( ram )" '126 delay read:1ms ( ram )' '126 test mode:read piece:8 up ( ram )' \
	'252 ram'; do
	many "${line%% *}" "${line#* }" >"$TMP/line"
	# What is allocated once, and what the kernel keeps for the next time
	dmsetup load "${VD}m" --readonly "$TMP/line"
	dmsetup clear "${VD}m"
	sleep 1
	before=$(available)
	run_ok "$line: loads" dmsetup load "${VD}m" --readonly "$TMP/line"
	took=$((before - $(available)))
	ok "$((took >= 65536))" "$line: $took KiB"
	dmsetup clear "${VD}m"
	# Behind grace periods and workers
	for ((i = 0; i < 30; i++)); do
		sleep 1
		left=$((before - $(available)))
		((left >= 8192)) || break
	done
	ok "$((left >= 8192))" "and gives it back: $left KiB are left"
done
run_ok 'removed' dmsetup remove "${VD}m"
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
