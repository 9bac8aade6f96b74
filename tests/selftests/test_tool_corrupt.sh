#!/bin/bash
# vdisk check, map and repair: bytes of both superblocks and of a sector of presence are changed in turn. Each is found; repair makes
# the superblocks what they were, and of presence says what is lost and makes nothing up. vdisk-unit, which test_tool_store.sh runs,
# and KUnit do so with every byte and bit; here a process is started for each, so it is each nineteenth, from another one each time.
# kernels: 6.1 6.12 7.3
# check: 6.12
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
cd "$TMP" || exit
load_vdisk
null_disk 8 512
vdisk format "$DISK" --len 3968 --max-len 3968 --force >/dev/null
vd a 3968 "overlay ( block $DISK ) ( zero )"
put "/dev/mapper/${VD}a" w 8192 seek=1
gone a
dd if="$DISK" of=good bs=512 count=2080 iflag=direct status=none
truncate -s $(((2048 + 3968) * 512)) good
map() { vdisk map --json "$1" 2>/dev/null | md5sum; }
before=$(map good)
is "$(vdisk check good >/dev/null; echo $?)" 0 'it is clean'

# One file, a byte of which is changed and changed back
cp good bad
mapfile -t bytes < <(od -An -v -t u1 -w1 -N 8704 good | tr -d ' ')
# change BYTE VALUE
# shellcheck disable=SC2059 # the byte
change() { printf "\\x$(printf %02x "$2")" | dd of=bad bs=1 seek="$1" conv=notrunc status=none; }
# try FIRST WANTED_STATUS: of those of a sector, the ones that check takes for something else
try() {
	local at status
	unseen=()
	for ((at = $1 + RANDOM % 19; at < $1 + 512; at += 19)); do
		change $at $((bytes[at] ^ 1 << at % 8))
		vdisk check bad >/dev/null 2>&1
		status=$?
		((status == $2)) || unseen+=("$at:$status")
		change $at "${bytes[at]}"
	done
}

try 0 3
is "${unseen[*]}" '' 'bytes of slot 0'
try 4096 3
is "${unseen[*]}" '' 'bytes of slot 1'
try 8192 2
is "${unseen[*]}" '' 'bytes of a sector of presence'

wrong=()
for ((at = 0; at < 512; at += 127)); do
	for slot in 0 4096; do
		change $((slot + at)) $((bytes[slot + at] ^ 255))
		vdisk repair bad >/dev/null 2>&1 && [[ $(map bad) == "$before" ]] || wrong+=("$((slot + at))")
		cp good bad
	done
	change $((8192 + at)) $((bytes[8192 + at] ^ 255))
	vdisk repair bad >/dev/null 2>&1
	[[ $? == 2 && $(vdisk map --json bad 2>/dev/null | jq -c '.[0] | [.start, .length, .state]') == '[0,1015808,"damaged"]' ]] || wrong+=("$((8192 + at))")
	cp good bad
done
is "${wrong[*]}" '' 'repaired, or not made up'
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
