#!/bin/bash
# overlay: each field of both superblocks and of a sector of presence is damaged in turn. What the disk then gives is right, or
# nothing: a bad superblock is done without or refused, units of bad presence fail, and repair brings back what it may.
# kernels: 6.1 6.12 7.3
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 4 512
null_disk 8 512
base=${disks[0]} store=${disks[1]}
a=/dev/mapper/${VD}a
stack="overlay ( block $store ) ( block $base )"
put "$base" b 2097152

# Two leaves: data, zeroes, and nothing in both
vdisk format "$store" --len 3968 --force >/dev/null
tr '\0' s </dev/zero | dd of="$store" bs=1M seek=1 count=3 iflag=fullblock oflag=direct status=none
vd a 3968 "$stack"
for first in 0 1984; do
	put "$a" w 4096 seek=$((first / 8 + 2))
	blkdiscard -f -o $((first * 512 + 16384)) -l 8192 "$a"
done
gone a
dd if="$store" of="$TMP/good" bs=4096 count=32 iflag=direct status=none
right=$TMP/right
vd a 3968 "$stack"
dd if="$a" of="$right" bs=512 iflag=direct status=none
gone a

# flip BYTE...: all bits of them, in what was good
flip() {
	local at byte
	cp "$TMP/good" "$TMP/bad"
	for at; do
		byte=$(od -An -t u1 -j "$at" -N 1 "$TMP/good")
		# shellcheck disable=SC2059 # the byte
		printf "\\x$(printf %02x $((byte ^ 255)))" | dd of="$TMP/bad" bs=1 seek="$at" conv=notrunc status=none
	done
	dd if="$TMP/bad" of="$store" bs=4096 oflag=direct conv=notrunc status=none
}

# restored: as it was
restored() { dd if="$TMP/good" of="$store" bs=4096 oflag=direct conv=notrunc status=none; }

# gives NAME: all of it, and right
gives() {
	dd if="$a" of="$TMP/found" bs=512 iflag=direct status=none && cmp -s "$TMP/found" "$right" || wrong+=("$1")
}

# Superblocks: the first and the last byte of each field, 512 bytes of which count
fields='0 7 8 11 12 15 16 23 24 31 32 39 40 47 48 63 64 67 68 71 72 79 80 87 88 95 96 103 104 111 112 119 120 127 128 255 256 319 320 511'
wrong=() refused=()
for slot in 0 4096; do
	# Some of them: an activation takes its time, and the tool and KUnit take each byte
	for at in $fields; do
		(((at + slot / 4096) % 5 == 1 || at < 4)) || continue
		flip $((slot + at))
		if vd a 3968 "$stack" 2>/dev/null; then
			gives "$((slot + at))"
			gone a
		else
			refused+=("$((slot + at))")
		fi
	done
done
is "${refused[*]} ${wrong[*]}" ' ' 'a damaged superblock is done without'
wrong=()
for at in 0 12 80 320; do
	flip $at $((4096 + at))
	! vd a 3968 "$stack" 2>/dev/null || wrong+=("$at")
	dmsetup remove "${VD}a" 2>/dev/null
done
is "${wrong[*]}" '' 'two of them are refused'
said=$(dmesg | sed -n 's/.*device-mapper: vdisk: [0-9:]*: //p' | tail -n 1)
is "$said" 'overlay: store: superblocks: bad checksum, bad checksum' 'and both are named'
is "$(vdisk repair "$store" >/dev/null 2>&1; echo $?)" 2 'repair cannot mend that'
run_ok 'and makes none up' cmp -n 16384 "$store" "$TMP/bad"

# Presence: units of the sector fail, all others are right, and they never read as absent
wrong=()
for at in 0 4 8 16 511; do
	flip $((8192 + at))
	vd a 3968 "$stack" || break
	for sector in 0 16 32 1983; do
		[[ $(error dd if="$a" of=/dev/null bs=512 skip=$sector count=1 iflag=direct) == 'No data available' ]] || wrong+=("$at:$sector")
	done
	[[ $(error dd if=/dev/zero of="$a" bs=512 seek=5 count=1 oflag=direct) == 'No data available' ]] || wrong+=("$at:write")
	dd if="$a" of="$TMP/found" bs=512 skip=1984 iflag=direct status=none && cmp -s "$TMP/found" <(tail -c +$((1984 * 512 + 1)) "$right") || wrong+=("$at:other")
	gone a
done
is "$at ${wrong[*]}" '511 ' 'damaged presence fails its units, and only those'

# Repair: of superblocks, all is as it was; of presence, only what is said
flip 9 $((8192 + 20))
is "$(vdisk check "$store" >/dev/null 2>&1; echo $?)" 2 'check finds both'
is "$(vdisk repair "$store" >/dev/null 2>&1; echo $?)" 2 'repair leaves presence damaged'
vd a 3968 "$stack"
is "$(error dd if="$a" of=/dev/null bs=512 count=1 iflag=direct)" 'No data available' 'it still fails'
gone a
for as in absent data; do
	flip 9 $((8192 + 20))
	run_ok "taken for $as" vdisk repair --damaged-as $as "$store"
	run_ok "taken for $as: it is clean" vdisk check "$store"
	vd a 3968 "$stack"
	letter=b
	[[ $as == absent ]] || letter=s
	is "$(letter "$a" 0)$(letter "$a" 100)$(letter "$a" 1983)" $letter$letter$letter "taken for $as: as said"
	dd if="$a" of="$TMP/found" bs=512 skip=1984 iflag=direct status=none
	run_ok "taken for $as: the rest is as it was" cmp "$TMP/found" <(tail -c +$((1984 * 512 + 1)) "$right")
	put "$a" n 4096 seek=3
	is "$(letter "$a" 24)" n "taken for $as: it takes writes"
	gone a
done
flip 9
is "$(vdisk repair "$store" >/dev/null 2>&1; echo $?)" 0 'a superblock is repaired'
vd a 3968 "$stack"
wrong=()
gives repaired
is "${wrong[*]}" '' 'and all is as it was'
gone a
restored
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
