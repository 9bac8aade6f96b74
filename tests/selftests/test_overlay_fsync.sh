#!/bin/bash
# overlay, and cache with write_through: a file system on top, files that are fsynced, discards and trims; power is cut at every flush
# and every write with FUA that reached the disks below. The store is clean, the file system's journal replays, its check finds
# nothing, and each file whose fsync had returned is there, with its bytes. VDISK_OPS: operations of each of two processes (4); half as
# many on the cache.
# timeout: 400
# kernels: 6.12 7.3
# check: none
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_LOG_WRITES CONFIG_EXT4_FS
load_vdisk
modprobe ext4
ops=${VDISK_OPS:-4}
logs=$((64 + ops / 4))
N=8192
null_disk 4 512 discard=1
null_disk 9 512 discard=1
null_disk "$logs" 512
null_disk "$logs" 512
null_disk "$logs" 512
null_disk 9 512 discard=1
null_disk 9 512 discard=1
base=${disks[0]} disk=${disks[1]} log=${disks[2]} logs=("${disks[3]}" "${disks[4]}") replayed=${disks[5]} cut=${disks[6]}
a=/dev/mapper/${VD}a
seed=${VDISK_FUZZ_SEED:-$RANDOM}
comment "seed $seed"

# A store has the first 5 MiB of a disk, and a base that is written what is behind it.
overlay_of() { echo "overlay ( block $1 len:10240 ) ( block $base )"; }
cache_of() { echo "cache write_through ( block $1 len:10240 ) ( block ${2:-$1 start:10240} )"; }
both() { dmsetup message "${VD}ls" 0 mark "$1" && dmsetup message "${VD}lb" 0 mark "$1"; }
mounted() { mount -t ext4 -o discard "$a" "$mnt"; }
undo=("umount $mnt" "${undo[@]}")

# An image, with files of its own
image() {
	mkfs.ext4 -qF -b 1024 -J size=1 -E lazy_journal_init=0,lazy_itable_init=0 "$base"
	mount -t ext4 "$base" "$mnt"
	fsynced run "$mnt" - 0 8 "$seed" >"$TMP/image" || comment 'the image is not whole'
	umount "$mnt"
	: >"$TMP/marks"
}

# worked DEVICES FIRST OPERATIONS: files are written and fsynced. What is marked in the logs of these devices is known to all of
# them in one order.
worked() { run_ok "$name: files from $2 on" fsynced run "$mnt" "$1" "$2" "$3" "$seed"; }

# What was wrong, by check; each is judged once for all cuts
declare -A wrong=()
wrong() { wrong[$1]+="at $at: $2"$'\n'; }
# look STACK_FUNCTION: at what $replayed has now, in a copy, for loading and mounting it writes
look() {
	local status said
	dd if="$replayed" of="$cut" bs=1M iflag=direct oflag=direct status=none
	dd if="$cut" of="$TMP/store" bs=1M count=5 iflag=direct status=none
	said=$(vdisk check "$TMP/store" 2>&1) || wrong store "$said"
	vd a $N "$("$1" "$cut")" || { wrong load 'it does not load' && return; }
	if [[ $1 == cache_of ]]; then
		cmp -s <(dd if="$a" bs=1M iflag=direct status=none) <(dd if="$cut" bs=1M skip=5 count=4 iflag=direct status=none) ||
			wrong base 'the disk is not its base'
		said=$(vdisk dump --force-share --json "$TMP/store" | jq -r '.superblocks[] | select(.counts).fields | "\(.flags) \(.epoch)"')
		[[ $said == 1\ * ]] && dirty=$((dirty + 1))
		is_now=$(counter a cache 1 epoch)
		((is_now == ${said#* } + ${said% *})) || wrong epoch "flags and epoch $said, then $is_now"
	fi
	if said=$(mounted 2>&1); then
		said=$(cat "$TMP/image" "$TMP/marks" | fsynced check "$mnt") || wrong files "$said"
		umount "$mnt"
		said=$(e2fsck -fn "$a" 2>&1) || wrong fsck "$said"
	else
		wrong mount "$said"
	fi
	gone a
	cuts=$((cuts + 1))
}

# each_cut STACK_FUNCTION: at every entry that flushes or has FUA. What was acknowledged before the next one has to be there.
each_cut() {
	local next=0 flushes
	while
		{
			read -r next flushes
			cat >>"$TMP/marks"
		} < <(logreplay "$log" "$replayed" "$next" +)
		((flushes))
	do
		at="entry $next"
		look "$1"
	done
	ok $((cuts < 3 * ops)) "$name: power is cut $cuts times"
	cmp -s <(dd if="$replayed" bs=1M iflag=direct status=none) <(dd if="$disk" bs=1M iflag=direct status=none)
	ok $? "$name: then all is as it was left"
}

judged() {
	local check
	for check; do
		is "${wrong[$check]-}" '' "$name: $check, at all of $cuts cuts"
	done
	wrong=()
}

name=overlay cuts=0
image
mkstore format "$disk" --len $N
dd if="$disk" of="$replayed" bs=1M oflag=direct status=none
dm l "0 $(sectors "$disk") log-writes $disk $log"
vd a $N "$(overlay_of "/dev/mapper/${VD}l")"
mounted
worked "${VD}l" 1000 "$ops"
umount "$mnt"
ok $(($(counter a overlay 1 zero) == 0)) 'overlay: some of it was discarded'
gone a l
each_cut overlay_of
judged store load mount files fsck

# The base is written as well, and has what the store has: one log has all, and one each for store and base.
name=cache cuts=0 dirty=0 rounds=2
image
vdisk format "$disk" --len $N --max-len $N --write-through --force >/dev/null
dd if="$base" of="$disk" bs=1M seek=5 oflag=direct status=none
dd if="$disk" of="$replayed" bs=1M oflag=direct status=none
dd if=/dev/zero of="$log" bs=1M count=1 oflag=direct status=none
dm l "0 $(sectors "$disk") log-writes $disk $log"
dm s "0 10240 linear /dev/mapper/${VD}l 0"
dm b "0 $N linear /dev/mapper/${VD}l 10240"
dm ls "0 10240 log-writes /dev/mapper/${VD}s ${logs[0]}"
dm lb "0 $N log-writes /dev/mapper/${VD}b ${logs[1]}"
vd a $N "$(cache_of "/dev/mapper/${VD}ls" "/dev/mapper/${VD}lb")"
mounted
for ((i = 0; i < rounds; i++)); do
	worked "${VD}l,${VD}ls,${VD}lb" $((1000 + 2 * i * ops)) $((ops / rounds / 2))
	both "busy$i"
	dmsetup suspend "${VD}a"
	both "rest$i"
	dmsetup resume "${VD}a"
done
umount "$mnt"
gone a lb ls b s l
dd if="$replayed" of="$TMP/before" bs=1M iflag=direct status=none
each_cut cache_of
ok $((dirty == 0 || dirty == cuts)) "cache: of $cuts cuts, $dirty found a store that is dirty"
judged store load base epoch mount files fsck

# Two disks: each has what it was flushed for, and not what the other one was.
name='cache, two disks' cuts=0 dirty=0
dd if="$TMP/before" of="$replayed" bs=1M oflag=direct status=none
: >"$TMP/marks"
dm s "0 10240 linear $replayed 0"
dm b "0 $N linear $replayed 10240"
store_next=0 base_next=0
for ((i = 0; i < rounds; i++)); do
	for mark in busy rest; do
		read -r store_next _ < <(logreplay "${logs[0]}" "/dev/mapper/${VD}s" "$store_next" "@$mark$i")
		{
			read -r base_next _
			cat >>"$TMP/marks"
		} < <(logreplay "${logs[1]}" "/dev/mapper/${VD}b" "$base_next" "@$mark$i")
		at=$mark$i
		look cache_of
	done
done
gone b s
is "$dirty" $rounds 'cache, two disks: in use it is dirty, at rest it is not'
judged store load base epoch mount files fsck
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
