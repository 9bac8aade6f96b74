#!/bin/bash
# overlay: power is cut at every flush that reached the store, and where all was flushed: what was flushed is there, and the store
# is clean. So is what was written with FUA, to blocks that the store did not have.
# timeout: 400
# kernels: 6.12 7.3
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_LOG_WRITES CONFIG_EXT4_FS
load_vdisk
null_disk 4 512
null_disk 16 512 discard=1
null_disk 200 512
null_disk 16 512 discard=1
null_disk 16 512 discard=1
base=${disks[0]} store=${disks[1]} log=${disks[2]} replayed=${disks[3]} cut=${disks[4]}
a=/dev/mapper/${VD}a
mkstore format "$store" --len 8192
dd if="$store" of="$replayed" bs=1M oflag=direct status=none
dm s "0 32768 log-writes $store $log"
vd a 8192 "overlay ( block /dev/mapper/${VD}s ) ( block $base )"
rounds=6
for ((i = 0; i < rounds; i++)); do
	verified "round $i" -n 60 -m 64 -f 10 -u 10 -d 8 -z 8 -r 10 --dump-model "$TMP/model$i" --discard-zeroes "$a"
	sync "$a"
	dmsetup message "${VD}s" 0 mark "round$i"
done
gone a s

# look NAME [MODEL]: at a copy of what is on $replayed, for loading it writes
look() {
	dd if="$replayed" of="$cut" bs=1M oflag=direct status=none
	run_ok "$1: the store is clean" mkstore check "$cut"
	vd a 8192 "overlay ( block $cut ) ( block $base )"
	if [[ ${2-} ]]; then
		verified "$1: all that was flushed is there" --check-file "$2" "$a"
	else
		run_ok "$1: everything can be read" dd if="$a" of=/dev/null bs=1M iflag=direct status=none
	fi
	gone a
}

next=0
for ((i = 0; i < rounds; i++)); do
	# Somewhere on the way, then where the round ended
	read -r next _ < <(logreplay "$log" "$replayed" "$next" "#$((next + 5 + RANDOM % 40))")
	look "round $i, entry $next"
	read -r next flushes < <(logreplay "$log" "$replayed" "$next" "@round$i")
	comment "entry $next, $flushes flushes"
	look "round $i" "$TMP/model$i"
done

# A journal's commit record has FUA, and no flush comes behind it. The journal is made where the overlay has nothing yet.
dd if=/dev/zero of="$log" bs=1M count=4 oflag=direct status=none
mkstore format "$store" --len 8192
dd if="$store" of="$replayed" bs=1M oflag=direct status=none
dm s "0 32768 log-writes $store $log"
vd a 8192 "overlay ( block /dev/mapper/${VD}s ) ( zero )"
mkfs.ext4 -qF -b 1024 -J size=1 -E lazy_journal_init=1,nodiscard "$a"
undo=("umount $mnt" "${undo[@]}")
mount -t ext4 "$a" "$mnt"
for ((i = 0; i < rounds; i++)); do
	echo "$i" >"$mnt/$i"
	sync "$mnt/$i"
	dmsetup message "${VD}s" 0 mark "file$i"
done
umount "$mnt"
gone a s
next=0
for ((i = 0; i < rounds; i++)); do
	read -r next _ < <(logreplay "$log" "$replayed" "$next" "@file$i")
	dd if="$replayed" of="$cut" bs=1M oflag=direct status=none
	vd a 8192 "overlay ( block $cut ) ( zero )"
	run_ok "file $i: mount" mount -t ext4 "$a" "$mnt"
	is "$(cat "$mnt/$i")" "$i" "file $i is there"
	umount "$mnt"
	gone a
done

# A merge: wherever power is cut, the store has all over the base; or it says that it was merged, and the base has all.
dd if=/dev/zero of="$log" bs=1M count=4 oflag=direct status=none
dd if=/dev/urandom of="$store" bs=1M oflag=direct status=none
mkstore format "$store" --len 8192 --force
vd a 8192 "overlay ( block $store len:20480 ) ( block $store start:20480 )"
verified 'merge: a disk' -n 300 -m 64 -r 0 -d 10 -z 10 --dump-model "$TMP/model" --discard-zeroes "$a"
gone a
dd if="$store" of="$replayed" bs=1M oflag=direct status=none
dm s "0 32768 log-writes $store $log"
vd a 8192 "overlay merge ( block /dev/mapper/${VD}s len:20480 ) ( block /dev/mapper/${VD}s start:20480 )"
dmsetup message "${VD}a" 0 overlay merge start
is_now() { [[ $(counter a overlay 1 merge) == "$1" ]]; }
wait_for 100 is_now ready
dmsetup message "${VD}a" 0 overlay merge finish
dmsetup suspend "${VD}a"
is_now 'done'
ok $? 'merge: done'
dmsetup message "${VD}s" 0 mark merged
gone a s
next=0 merged=0 unmerged=0
while ((!merged)); do
	last=$next
	read -r next _ < <(logreplay "$log" "$replayed" "$last" "#$((last + 1 + RANDOM % 40))")
	((next > last)) || break
	dd if="$replayed" of="$cut" bs=1M oflag=direct status=none
	blockdev --flushbufs "$cut"
	if [[ $(vdisk check --json "$cut" | jq .merged) == true ]]; then
		merged=$next
		vd a 8192 "block $cut start:20480"
	else
		unmerged=$((unmerged + 1))
		vd a 8192 "overlay ( block $cut len:20480 ) ( block $cut start:20480 )"
	fi
	verified "merge: entry $next: all is there" --check-file "$TMP/model" "$a"
	gone a
done
ok $((!(merged > 3 && unmerged))) "merge: merged from entry $merged on"
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
