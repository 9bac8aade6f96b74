#!/bin/bash
# overlay: what was written, discarded and zeroed is seen, all else is the base's, and the base is never written.
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 8 512 discard=1
null_disk 8 512 discard=1
null_disk 8 4096 discard=1
null_disk 8 512
base=${disks[0]} store=${disks[1]} large=${disks[2]} plain=${disks[3]}
a=/dev/mapper/${VD}a
io=(-n 400 -m 512 -f 2 -w 20 -u 10 -d 5 -z 5)
sum() { dd if="$1" bs=1M iflag=direct count="$2" status=none | md5sum; }

verified 'a base' -n 200 -m 512 --size $((16368 * 512)) --dump-model "$TMP/base" "$base"
before=$(sum "$base" 8)

# stacks of 16384 sectors over the base
for stack in "overlay volatile ( ram ) ( block $base )" "overlay volatile ( block $store ) ( block $base )" \
	"overlay volatile ( block $plain ) ( block $base )" \
	"overlay volatile ( striped chunk:24 ( block $store ) ( ram ) ) ( block $base )" \
	"overlay volatile label:x ( ram ) ( overlay volatile label:y ( block $store ) ( overlay volatile ( ram ) ( block $base ) ) )" \
	"overlay volatile ( delay write:50us discard:300us ( ram ) ) ( test piece:3 mode:work up ( block $base ) )" \
	"test piece:24 ( overlay volatile ( test mode:timer piece:8 ( ram ) ) ( concat ( block $base ) ) )"; do
	vd a 16368 "$stack"
	verified "base: $stack" --check-file "$TMP/base" "$a"
	verified "$stack" "${io[@]}" --discard-zeroes --verify "$a"
	run_ok 'discard of all' blkdiscard "$a"
	is "$(cmp "$a" /dev/zero 2>&1)" "cmp: EOF on $a after byte 8380416, in line 1" 'reads as zeroes, not as the base'
	gone a
	blkdiscard -z "$store"
done
is "$(sum "$base" 8)" "$before" 'the base is as it was'

# A bio that meets all states, in pieces of one sector
vd a 64 "overlay volatile ( ram ) ( block $base )"
put "$base" b 32768
for ((i = 0; i < 64; i += 3)); do
	put "$a" w 512 seek="$i"
done
for ((i = 1; i < 64; i += 6)); do
	blkdiscard -o $((i * 512)) -l 512 "$a"
done
for ((i = 4; i < 64; i += 6)); do
	((i % 12 == 4)) || blkdiscard -z -o $((i * 512)) -l 512 "$a"
done
want=$(for ((i = 0; i < 64; i++)); do
	if ((i % 3 == 0)); then printf w; elif ((i % 6 == 1 || (i % 6 == 4 && i % 12 != 4))); then printf .; else printf b; fi
done)
is "$(dd if="$a" bs=32768 iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n')" "$want" 'one bio, all states'
is "$(counter a overlay 1 data zero leaves)" "22 16 1" 'counted'
put "$a" x 32768
is "$(counter a overlay 1 data zero)" "64 0" 'all data'
gone a

# D3: a base that ends first, also in the middle of a block; a base that is longer
vd a 16384 "overlay volatile ( ram ) ( block $base len:13 )"
is "$(dd if="$a" bs=512 count=20 iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n')" \
	bbbbbbbbbbbbb....... 'D3: zeroes behind a shorter base, in one bio'
is "$(letter "$a" 14)" . 'D3: a bio that begins behind it'
put "$a" w 4096 seek=1
is "$(dd if="$a" bs=512 count=20 iflag=direct status=none | tr '\0' . | fold -w 512 | cut -c 1 | tr -d '\n')" \
	bbbbbbbbwwwwwwww.... 'a write over its end'
# D4: written, then longer, then written
run_ok 'D4: longer' reload a "0 32768 vdisk overlay volatile ( ram ) ( block $base len:13 )"
put "$a" y 512 seek=20000
is "$(letter "$a" 20000)$(letter "$a" 19999)$(letter "$a" 20001)$(letter "$a" 9)$(letter "$a" 12)" y..ww 'D4: what is written behind the old end is there'
run_ok 'D4: shorter, and longer again' reload a "0 16384 vdisk overlay volatile ( ram ) ( block $base len:13 )"
reload a "0 32768 vdisk overlay volatile ( ram ) ( block $base len:13 )"
is "$(letter "$a" 20000)$(letter "$a" 9)" yw 'D4: nothing is lost'
gone a
vd a 24 "overlay volatile ( ram ) ( block $base )"
is "$(dd if="$a" bs=512 count=24 iflag=direct status=none | tr -d b | wc -c)" 0 'a longer base'
gone a

# 4096: of the store, of the base
for stack in "overlay volatile ( block $large ) ( block $base len:13 )" "overlay volatile ( ram ) ( block $large )"; do
	vd a 16384 "$stack"
	is "$(limit a logical_block_size)" 4096 "4096: $stack"
	verified "4096: $stack" "${io[@]}" --discard-zeroes --verify "$a"
	gone a
done

# Limits do not depend on the children's
for leaf in "$base" "$plain"; do
	vd a 16384 "overlay volatile ( block $leaf ) ( block $plain )"
	is "$(limit a discard_max_bytes) $(limit a write_zeroes_max_bytes)" "4160749568 4160749568" "discards and zeroes over ${leaf##*/}"
	gone a
done

# The base is opened read-only, so it may be write-protected, and shared
scratch
if has_config CONFIG_SCSI_DEBUG; then
	modprobe sd_mod
	modprobe scsi_debug dev_size_mb=8 wp=1
	undo+=('modprobe -r scsi_debug')
	# shellcheck disable=SC2317
	find_protected() {
		protected=$(dirname /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block)
		protected=/dev/$(basename "$protected"/block/*)
		[[ -b $protected ]]
	}
	wait_for 20 find_protected
	for name in a b; do
		vd "$name" 16384 "overlay volatile ( ram ) ( striped chunk:8 ( block $protected ) )"
		put "/dev/mapper/$VD$name" "$name" 4096
	done
	is "$(letter "$a" 0)$(letter "/dev/mapper/${VD}b" 0)$(letter "$a" 8)" ab. 'two overlays over one write-protected base'
	refused 'overlay/0/block: device: cannot be opened (-EROFS)' "overlay volatile ( block $protected ) ( zero )" 16384
	gone a b
else
	skip 'two overlays over one write-protected base' CONFIG_SCSI_DEBUG
fi
refused 'overlay: needs 2 children, has 1' 'overlay volatile ( ram )'
refused 'overlay/0/block: has 16384 sectors, 20000 are asked of it' "overlay volatile ( block $store ) ( zero )" 20000
refusals
gone "$scratch"
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
