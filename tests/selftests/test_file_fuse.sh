#!/bin/bash
# file on FUSE, which leaves it to a server to write, and its direct writes end unsynced: FUA is a sync that has ended.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_FUSE_FS
load_vdisk
modprobe -q fuse
declare -i len=8192
a=/dev/mapper/${VD}a img=$mnt/img
undo=("umount $mnt" "${undo[@]}")
fused "$mnt" $((len * 512)) "$TMP/failing" >"$TMP/said" &
wait_for 10 test -e "$img"
head -c 64k /dev/urandom >"$TMP/data"

# fua BYTES [OPERAND_OF_DD...]: a write, and what the server has heard but for flushes, which a sync write of a disk has as well
fua() {
	local flushes lines
	flushes=$(counter a file 1 flushes)
	lines=$(wc -l <"$TMP/said")
	dd if="$TMP/data" of="$a" bs="$1" count=1 oflag=direct,dsync conv=notrunc status=none "${@:2}" || return
	flushes=$(($(counter a file 1 flushes) - flushes))
	tail -n +$((lines + 1)) "$TMP/said" | head -n -"$flushes" | uniq | xargs
}

for options in '' block:512 buffered; do
	name="fuse${options:+ $options}"
	vd a "$len" "file $img $options"
	is "$(fua 4096)" 'write sync' "$name: FUA"
	is "$(fua 65536 seek=1)" 'write sync' "$name: FUA, a long one"
	[[ ! $options ]] || is "$(fua 512 seek=11)" 'write sync' "$name: FUA of a part of a block"
	lines=$(wc -l <"$TMP/said")
	dd if="$TMP/data" of="$a" bs=4096 count=1 oflag=direct conv=notrunc status=none
	if [[ $options != buffered ]]; then
		is "$(tail -n +$((lines + 1)) "$TMP/said")" write "$name: no FUA, no sync"
	fi
	touch "$TMP/failing"
	flushes=$(counter a file 1 flushes)
	is "$(error fua 4096)" 'Input/output error' "$name: FUA that fails"
	is "$(($(counter a file 1 flushes) - flushes)) $(counter a file 1 errors error)" '0 1 -5' "$name: it is the write that does"
	rm "$TMP/failing"
	run_ok "$name: and then no longer" fua 4096
	verified "$name: through the disk" -n 300 -m 64 -f 3 -u 30 -w 30 --verify "$a"
	gone a
done
run_ok 'unmount' umount "$mnt"
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
