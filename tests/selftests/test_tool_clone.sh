#!/bin/bash
# A clone of an image, which is a new overlay over it, is made in a time that does not depend on how large the image is: vdisk
# create makes the same number of calls, and writes as much. The times are only said: beside those of dmsetup create of a
# linear device, twice, which tells what the figures are worth.
# kernels: 6.1 6.12 7.3
# check: 6.12
# timeout: 240
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_XFS_FS CONFIG_BLK_DEV_LOOP CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 1 512
free=$DISK
loop_disk 320 512
make_fs xfs "$DISK"
undo=("cd /" "${undo[@]}")
cd "$mnt" || exit
a=${VD}a
truncate -s 1G small
truncate -s 16T large

clone() { vdisk create "$a" --create "overlay ( file store ) ( file $1 )" >/dev/null; }
linear() { dmsetup create "$a" --table "0 2048 linear $free 0"; }
removed() { dmsetup remove "$a" && rm -f store; }
# written: sectors, to the device of the file system
written() { sync -f . && awk '{ print $7 }' "/sys/block/${DISK##*/}/stat"; }

declare -A calls sectors blocks
for size in small large; do
	# What XFS does once
	clone $size && removed
	failcall 0 0 "$TMP/calls" vdisk create "$a" --create "overlay ( file store ) ( file $size )"
	ok $? "a clone of a $size image"
	is "$(sectors "/dev/mapper/$a")" "$(($(stat -c %s $size) / 512))" "$size: its length"
	calls[$size]=$(<"$TMP/calls") blocks[$size]=$(allocated store)
	removed
	before=$(written)
	clone $size
	sectors[$size]=$(($(written) - before))
	removed
done
is "${calls[large]}" "${calls[small]}" 'the same number of calls, whatever the size'
is "${blocks[large]}" "${blocks[small]}" 'the store takes as much'
ok "$((sectors[large] > sectors[small] + 64))" 'as much is written'
comment "${calls[small]} and ${calls[large]} calls, ${blocks[small]} and ${blocks[large]} sectors in the store, ${sectors[small]} and ${sectors[large]} written"

# timed NAME COMMAND...: how many us it takes, into a file of this name
timed() {
	local begin=$EPOCHREALTIME end
	"${@:2}" || ok 1 "$1"
	end=$EPOCHREALTIME
	removed
	echo $((${end/./} - ${begin/./})) >>"$TMP/$1"
}
rounds=${VDISK_OPS:-21}
median() { sort -n "$TMP/$1" | sed -n "$((rounds / 2 + 1))p"; }
for ((i = 0; i < rounds; i++)); do
	timed linear linear
	timed small clone small
	timed large clone large
	timed again linear
done
comment "median of $rounds, in us: dmsetup create of a linear device $(median linear), and again $(median again);" \
	"vdisk create of a clone of 1 GiB $(median small), of 16 TiB $(median large)"
# Ten times what is promised: this may be emulated, and be busy.
ok "$(($(median large) - $(median linear) > 500000))" 'a clone of 16 TiB takes less than 500 ms longer than a linear device'
done_testing
