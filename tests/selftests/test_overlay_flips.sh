#!/bin/bash
# overlay and cache: bytes of both superblocks and of all presence are damaged in turn, and the store is opened: what is read is right,
# or an error, and what cannot be opened is refused and says why. VDISK_EVERY: every so many-th byte (40); with 1, all of them.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.12
# timeout: 300
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
every=${VDISK_EVERY:-40}
# Eight sectors of presence, 4096 bytes, are about N sectors; a store has $slice. There are $stores of them on one disk, and
# one device has an overlay over each: making a device takes its time.
N=15872 slice=18432 stores=32
null_disk 8 512
null_disk $((stores * slice / 2048)) 512
base=${disks[0]} disk=${disks[1]}
a=/dev/mapper/${VD}a
[[ ! ${VDISK_FUZZ_SEED-} ]] || RANDOM=$VDISK_FUZZ_SEED
put "$base" b $((N * 512))
store() { echo "block $disk start:$(($1 * slice)) len:$slice"; }
blank() { dd if=/dev/zero of="$disk" bs=1M count=9 oflag=direct status=none; }

# drawn FROM END STEP: a byte of each step, and bits of it
drawn() {
	local -i at
	for ((at = $1 + RANDOM % $3; at < $2; at += $3)); do
		echo "$at:$((RANDOM % 3 ? 1 << RANDOM % 8 : 255))"
	done
}

# slots: bytes of both
slots() {
	drawn 0 512 "$every"
	drawn 4096 4608 "$every"
}

# bytes EVERY: of what is read of both slots, of what is not, and of presence
bytes() {
	local slot
	for slot in 0 4096; do
		drawn $slot $((slot + 512)) "$every"
		drawn $((slot + 512)) $((slot + 4096)) $((every * 32 - 31))
	done
	drawn 8192 12288 "$1"
}

# sweep NAME NODE [--base] <FLIPS: stores that are all $TMP/good, but for a byte of each. They and the base are the children of the
# node, or where it says @.
sweep() {
	local name=$1 node=$2 flips said wrong='' nr=0 i table
	[[ $node == *@* ]] || node+=' @'
	while mapfile -t -n $stores flips && ((${#flips[@]})); do
		printf '%s\n' "${flips[@]}" >"$TMP/flips"
		flips set "$disk" $slice "$TMP/good" <"$TMP/flips"
		table=''
		for ((i = 0; i < ${#flips[@]}; i++)); do
			table+="$((i * N)) $N vdisk ${node//@/( $(store $i) ) ( block $base len:$N )}"$'\n'
		done
		if dmsetup create "${VD}a" --table "$table" 2>/dev/null; then
			said=$(flips look "$a" "$TMP/right" "${@:3}" <"$TMP/flips") || wrong+=$said$'\n'
			gone a
		else
			dmsetup remove "${VD}a" 2>/dev/null
			wrong+="one of them is refused: ${flips[*]}: $(refusal)"$'\n'
		fi
		nr=$((nr + ${#flips[@]}))
	done
	is "$wrong" '' "$name: of $nr stores, each with a byte that is damaged, nothing wrong is read"
}
refusal() { dmesg | sed -n 's/.*device-mapper: vdisk: [0-9:]*: //p' | tail -n 1; }

# each_kind LEN: a store of a disk that had so many sectors, with each kind of leaf: data and zeroes in all but one, which is blank
each_kind() {
	local leaf
	vdisk format "$disk" --len "$1" --max-len $N --force >/dev/null
	dm s "0 $slice linear $disk 0"
	vd a $N "overlay ( block /dev/mapper/${VD}s ) ( block $base len:$N )"
	for leaf in 0 1 2 3 4 5 7; do
		put "$a" "$leaf" 4096 oflag=seek_bytes seek=$(((leaf * 1984 + leaf) * 512))
		blkdiscard -f -o $(((leaf * 1984 + 24) * 512)) -l 4096 "$a"
		put "$a" e 512 oflag=seek_bytes seek=$(((leaf * 1984 + 1983 - leaf) * 512))
	done
	dd if="$a" of="$TMP/right" bs=1M iflag=direct status=none
	gone a s
}
each_kind $N
# keep: what all stores are to have
keep() {
	dd if="$disk" of="$TMP/good" bs=4096 count=3 iflag=direct status=none
	flips copy "$disk" $slice $stores
}
keep
sweep overlay overlay < <(bytes "$every")

# refused_all NAME MESSAGE <<<"FLIP[,FLIP...]": the first store, with these bytes damaged, is refused, and it says why
refused_all() {
	local name=$1 message=$2 nr=0 flip loaded='' said
	dmesg -C
	while read -r flip; do
		cp "$TMP/good" "$TMP/bad"
		flips set "$disk" $slice "$TMP/good" <<<"${flip%,*}"
		if [[ $flip == *,* ]]; then
			dd if="$disk" of="$TMP/bad" bs=4096 count=3 iflag=direct status=none
			flips set "$disk" $slice "$TMP/bad" <<<"${flip#*,}"
		fi
		! dm a "0 $N vdisk overlay ( $(store 0) ) ( block $base len:$N )" 2>/dev/null || loaded+=" $flip"
		dmsetup remove "${VD}a" 2>/dev/null
		nr=$((nr + 1))
	done
	said=$(dmesg | sed -n 's/.*device-mapper: vdisk: [0-9:]*: //p' | grep -cE "^overlay: $message\$")
	is "$loaded $said" " $nr" "$name: $nr times it is refused, and says why"
}
refused_all 'two damaged superblocks' 'store: superblocks: (bad checksum|no store: format it first), (bad checksum|no store: format it first)' < <(
	drawn 0 512 $((every * 2 - 1)) | while IFS=: read -r at bits; do echo "$at:$bits,$((4096 + at)):$bits"; done
)

# As a base, a store ends where its superblock says. It has grown.
blank
each_kind 2048
keep
sweep 'a base that has grown' 'overlay volatile ( ram ) ( overlay @ )' < <(slots)

# A cache that is dirty: its base has been written since, and what it keeps is old. Whatever is damaged, that is not read.
blank
vdisk format "$disk" --len $N --max-len $N --write-through --force >/dev/null
vd a $N "cache write_through fill:8 read_ahead:0 ( $(store 0) ) ( block $base len:$N )"
for leaf in 0 1 2 3 4 5 7; do
	put "$a" o 8192 oflag=seek_bytes seek=$(((leaf * 1984 + leaf) * 512))
	put "$a" o 1024 oflag=seek_bytes seek=$(((leaf * 1984 + 1980) * 512))
done
dmsetup suspend "${VD}a"
dmsetup resume "${VD}a"
put "$a" n 512 seek=4
is "$(counter a cache 1 through)" dirty 'a cache that is dirty'
dd if="$disk" of="$TMP/dirty" bs=4096 count=3 iflag=direct status=none
gone a
keep
put "$base" b $((N * 512))
dd if="$base" of="$TMP/right" bs=1M iflag=direct status=none
mv "$TMP/dirty" "$TMP/good"
sweep 'a dirty cache' 'cache write_through fill:8 read_ahead:0' --base < <(bytes $((every * 8 - 7)))
# Nor if its superblock is repaired, of which the older one says nothing of that
flips set "$disk" $slice "$TMP/good" <<<100:1
dm s "0 $slice linear $disk 0"
run_ok 'a dirty cache: its superblock is repaired' vdisk repair "/dev/mapper/${VD}s"
vd a $N "cache write_through fill:8 read_ahead:0 ( block /dev/mapper/${VD}s ) ( block $base len:$N )"
run_ok 'a dirty cache: nothing old is read then' flips look "$a" "$TMP/right" --base <<<100:1
gone a s
# The log says what it is
for flip in 100:1 4196:1 8100:1; do
	case $flip in
	100:*) why='superblock 0 is damaged' ;;
	4196:*) why='superblock 1 is damaged' ;;
	*) why='was in use when its host went down' ;;
	esac
	flips set "$disk" $slice "$TMP/good" <<<$flip
	dmesg -C
	vd a $N "cache write_through fill:8 read_ahead:0 ( $(store 0) ) ( block $base len:$N )"
	is "$(refusal)" "cache: store: $why: emptied" "a dirty cache, byte ${flip%:*}: the log says why"
	gone a
done

# A store that was merged is not the disk any more, whatever its superblocks have.
blank
vdisk format "$disk" --len $N --max-len $N --force >/dev/null
vd a $N "overlay merge ( $(store 0) ) ( block $base len:$N )"
put "$a" m 4096
dmsetup message "${VD}a" 0 overlay merge start
is_now() { [[ $(counter a overlay 1 merge) == "$1" ]]; }
wait_for 30 is_now ready
dmsetup message "${VD}a" 0 overlay merge finish
dmsetup suspend "${VD}a"
is_now 'done'
ok $? 'a store that was merged'
gone a
dd if="$disk" of="$TMP/good" bs=4096 count=3 iflag=direct status=none
refused_all 'a store that was merged' 'store: was merged into its base, which is the disk now' < <(
	drawn 0 512 $((every * 2 - 1)) && drawn 4096 4608 $((every * 2 - 1))
)

# Unless the same disk goes on to be in it.
blank
put "$base" b $((N * 512))
vdisk format "$disk" --len $N --max-len $N --force >/dev/null
vd a $N "overlay merge ( $(store 0) ) ( block $base len:$N )"
put "$a" m 4096
dmsetup message "${VD}a" 0 overlay merge start
wait_for 30 is_now ready
dmsetup message "${VD}a" 0 overlay merge finish
dmsetup suspend "${VD}a"
is_now 'done'
ok $? 'a store that was merged once'
dmsetup resume "${VD}a"
put "$a" g 4096
dd if="$a" of="$TMP/right" bs=1M iflag=direct status=none
gone a
keep
sweep 'a store that was merged once, and is the disk' overlay < <(slots)
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
