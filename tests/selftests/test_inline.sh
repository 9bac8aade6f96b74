#!/bin/bash
# Inline encryption: a stack that only remaps can what its leaves can, as dm-linear and dm-stripe, and a bio's context reaches
# them with the right number for each sector. A stack that does more than remap can nothing of it.
# kernels: 7.3 uml-6.12
# check: 7.3
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_INLINE_ENCRYPTION CONFIG_BLK_INLINE_ENCRYPTION_FALLBACK
load_vdisk
# Two that can data units of 512 and of 4096, one that can those of 4096, and one that can nothing
insmod "$(find "$VDISK_BUILD" -name vdisk-inlinedisk.ko -print -quit)" units=0x1200,0x1200,0x1000,0
debug=/sys/kernel/debug/vdisk-inlinedisk
leaf=(/dev/vdinline{0..3})
# shellcheck disable=SC2317 # called by wait_for
leaves() { [[ -b ${leaf[0]} && -b ${leaf[1]} && -b ${leaf[2]} && -b ${leaf[3]} ]]; }
wait_for 10 leaves
ok $? 'the leaves'

# crypt OP UNIT SECTOR NR DUN NAME: a bio with a context
crypt() { echo "$1 $2 $3 $4 $5 /dev/mapper/$VD$6" >"$debug/run"; }
# profile NAME: what it can
profile() { (cd "$(queue "$1")/crypto" 2>/dev/null && grep -r . | sort) || echo none; }
# seen FIELD: of all leaves: 1 bios with context, 2 without, 3 keys evicted
seen() { cut -d ' ' -f "$1" "$debug/seen" | tr '\n' ' '; }
# raw DISK SECTOR: its first word
raw() { dd if="$1" bs=512 skip="$2" count=1 iflag=direct status=none | od -A n -t x8 -N 8 | tr -d ' '; }
# word LEAF SECTOR: the number of the data unit by which the medium shows zeroes
word() { echo $((0x$(raw "${leaf[$1]}" "$2") - 0x5a5a000000000000)); }
# clean: make the media so that they show whether a bio came there
clean() {
	local disk
	for disk in "${leaf[@]}"; do
		dd if=/dev/zero of="$disk" bs=1M count=1 oflag=direct status=none
	done
}
media() {
	local disk
	for disk in "${leaf[@]}"; do
		dd if="$disk" bs=1M iflag=direct status=none
	done | sha256sum
}

# writes NAME: short and long, at borders and across them
writes() {
	crypt write 512 0 1 1000 "$1" && crypt write 512 1 128 2001 "$1" && crypt write 512 595 37 18446744073709551600 "$1" &&
		crypt write 512 895 10 7 "$1" && crypt write 4096 1024 256 5000 "$1"
}
reads() {
	crypt read 512 0 1 1000 "$1" && crypt read 512 1 128 2001 "$1" && crypt read 512 595 37 18446744073709551600 "$1" &&
		crypt read 512 895 10 7 "$1" && crypt read 4096 1024 256 5000 "$1"
}

# stripes CHUNK DISK DISK: dm-stripe, of dm-linear; it passes nothing itself before 6.17
stripes() {
	local disk=("$2" "$3") i
	for ((i = 0; i < 1920 / $1; i++)); do
		echo "$((i * $1)) $1 linear ${disk[i % 2]} $(((i >> 1) * $1))"
	done
}

# both NAME STACK TARGET...: vdisk and its peer, v and s, have the same profile, and bring the same to the media
both() {
	local name=$1 stack=$2 before want
	shift 2
	vd v 1920 "$stack"
	dm s "$(printf '%s\n' "$@")"
	[[ $(profile v) == *AES-256-XTS* ]]
	ok $? "$name: has a profile"
	is "$(profile v)" "$(profile s)" "$name: the same one"
	clean
	run_ok "$name: written through the peer" writes s
	want=$(media)
	clean
	before=$(seen 2)
	run_ok "$name: written through vdisk" writes v
	is "$(seen 2)" "$before" "$name: no bio has lost its context"
	is "$(media)" "$want" "$name: the same on the media"
	run_ok "$name: read through the peer" reads s
	before=$(seen 2)
	run_ok "$name: read through vdisk" reads v
	is "$(seen 2)" "$before" "$name: nor has one that reads"
	run_fails "$name: another number does not read it" crypt read 512 1 128 2002 v
	gone v s
}

both 'a leaf' "block ${leaf[0]}" "0 1920 linear ${leaf[0]} 0"
both 'a part of one' "block ${leaf[0]} start:37" "0 1920 linear ${leaf[0]} 37"
both 'striped' "striped chunk:8 ( block ${leaf[0]} ) ( block ${leaf[1]} )" "$(stripes 8 "${leaf[0]}" "${leaf[1]}")"
both 'concat' "concat ( block ${leaf[0]} len:600 ) ( block ${leaf[1]} len:300 start:8 ) ( block ${leaf[0]} start:703 )" \
	"0 600 linear ${leaf[0]} 0" "600 300 linear ${leaf[1]} 8" "900 1020 linear ${leaf[0]} 703"
dm half "0 600 linear ${leaf[0]} 0
600 360 linear ${leaf[0]} 1000"
both 'striped over concat' "striped chunk:24 ( concat ( block ${leaf[0]} len:600 ) ( block ${leaf[0]} start:1000 ) ) ( block ${leaf[1]} )" \
	"$(stripes 24 "/dev/mapper/${VD}half" "${leaf[1]}")"
gone half

# Where each sector has to be: not by the peer's word alone
clean
vd a 1920 "striped chunk:8 ( concat ( block ${leaf[0]} len:16 ) ( block ${leaf[1]} start:100 ) ) ( block ${leaf[1]} )"
crypt write 512 4 60 1004 a
is "$(word 0 3) $(word 0 4) $(word 0 8) $(word 1 0) $(word 1 15) $(word 1 100) $(word 1 107) $(word 1 23)" \
	"$((-0x5a5a000000000000)) 1004 1016 1008 1031 1032 1039 1047" 'each sector has its number'
crypt write 4096 0 32 500 a
is "$(word 0 0) $(word 0 7) $(word 1 0) $(word 1 7) $(word 0 8) $(word 1 15)" '500 500 501 501 502 503' 'each unit of 4096 has its number'
# A key is evicted from all leaves.
before=$(seen 3)
crypt write 512 0 1 1 a
read -r b0 b1 _ <<<"$before"
read -r n0 n1 _ <<<"$(seen 3)"
ok "$((n0 == b0 || n1 == b1))" 'keys are evicted from each leaf'
gone a

# What one leaf cannot, the stack cannot.
for n in 1 2 3; do
	vd v 1920 "striped chunk:8 ( block ${leaf[0]} ) ( block ${leaf[$n]} )"
	dm s "0 1920 striped 2 8 ${leaf[0]} 0 ${leaf[$n]} 0"
	[[ $VDISK_KERNEL == *6.12 ]] || is "$(profile v)" "$(profile s)" "leaves 0 and $n: the profile of dm-stripe"
	is "$(crypt native 512 0 0 0 v 2>/dev/null && echo can)" "$( ((n == 1)) && echo can)" "leaves 0 and $n: units of 512"
	is "$(crypt native 4096 0 0 0 v 2>/dev/null && echo can)" "$( ((n < 3)) && echo can)" "leaves 0 and $n: units of 4096"
	gone v s
done

# cannot NAME: no profile, so the processor encrypts, and no leaf sees a context
cannot() {
	local before
	before=$(seen 1)
	run_fails "$1: cannot units of 512" crypt native 512 0 0 0 a
	run_fails "$1: cannot units of 4096" crypt native 4096 0 0 0 a
	# Before 7.0, no module can ask the processor.
	[[ $VDISK_KERNEL != *6.12 ]] || return 0
	run_ok "$1: a bio with a context can be written" crypt write 512 3 100 77 a
	run_ok "$1: and read" crypt read 512 3 100 77 a
	is "$(seen 1)" "$before" "$1: no leaf has seen the context"
	[[ $(raw "/dev/mapper/${VD}a" 3) != 0000000000000000 ]]
	ok $? "$1: but it was encrypted"
}
for stack in 'ram' "test ( block ${leaf[0]} )" "striped chunk:8 ( block ${leaf[0]} ) ( ram )" \
	"test mode:work piece:3 ( striped chunk:8 ( block ${leaf[0]} ) ( block ${leaf[1]} ) )"; do
	clean
	vd a 1920 "$stack"
	is "$(profile a)" none "$stack: no profile"
	cannot "$stack"
	gone a
done

# Reload: from none to what the leaves can, and not back: dm core takes nothing from a disk that it has promised.
vd a 1920 'ram'
run_ok 'ram to test' reload a "0 1920 vdisk test drop_volatile ( block ${leaf[0]} )"
cannot 'ram to test'
run_ok 'test to a leaf' reload a "0 1920 vdisk block ${leaf[0]}"
run_ok 'test to a leaf: can units of 512' crypt native 512 0 0 0 a
clean
run_ok 'test to a leaf: written' crypt write 512 9 1 99 a
is "$(word 0 9)" 99 'test to a leaf: with its context'
run_ok 'a leaf to striped' reload a "0 1920 vdisk striped chunk:8 ( block ${leaf[0]} ) ( block ${leaf[1]} )"
run_ok 'a leaf to striped: written' crypt write 512 9 1 55 a
is "$(word 1 1)" 55 'a leaf to striped: with its context'
refusals=$(dmesg | grep -c 'capabilities of new DM table were more restrictive')
for stack in "test ( block ${leaf[0]} )" 'ram' "concat ( block ${leaf[0]} len:1000 ) ( block ${leaf[3]} )" "block ${leaf[2]}"; do
	run_fails "striped to less: $stack" dmsetup load "${VD}a" --table "0 1920 vdisk $stack"
	is "$(dmesg | grep -c 'capabilities of new DM table were more restrictive')" "$((++refusals))" 'and dm core says why'
done
run_ok 'what was refused has left nothing' crypt read 512 9 1 55 a
gone a

if [[ -w /sys/kernel/debug/kmemleak ]]; then
	sleep 5
	echo scan >/sys/kernel/debug/kmemleak
	echo scan >/sys/kernel/debug/kmemleak
	is "$(grep -A 12 unreferenced /sys/kernel/debug/kmemleak | grep -E 'vdisk|dm_|crypt')" '' 'nothing leaked'
else
	skip 'nothing leaked' CONFIG_DEBUG_KMEMLEAK
fi
run_ok 'nothing holds the leaves' rmmod vdisk_inlinedisk
done_testing
