#!/bin/bash
# vhd1: images of qemu-img and of OpenVMM open, on disks with blocks of 512 and 4096 bytes; the guest sees no footer; what it wrote
# QEMU reads; other VHDs are refused by name.
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/file.sh
. "$selftests/file.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_BLK_DEV_LOOP CONFIG_EXT4_FS
load_vdisk
null_disk 100 512 discard=1
loop_disk 100 4096
scratch
a=/dev/mapper/${VD}a img=$mnt/x.vhd
io=(-n 500 -m 64 -d 3 -z 3 -f 3 -u 5 --discard-zeroes --verify)
poke() { printf '%b' "$2" | dd of="$img" bs=1 seek="$1" conv=notrunc status=none; }

# openvmm SECTORS [FOOTER_BYTES]: as its make_fixed does
openvmm() {
	local -i size=$(($1 * 512)) len=${2:-512} sum
	local bytes
	# Cookie, features, version, data offset; time, creator, its version, its system
	bytes=636f6e65637469780000000200010000ffffffffffffffff
	bytes+=0000000000000000000a000000000000
	bytes+=$(printf '%016x%016x' $size $size)0000000000000002
	sum=$((16 * 0x5a$(fold -w 2 <<<"$bytes" | sed 's/^/+0x/' | tr -d '\n')))
	bytes+=$(printf '%08x' $(((~sum) & 0xffffffff)))$(printf '5a%.0s' {1..16})
	truncate -s "$size" "$img"
	printf '%b' "$(fold -w 2 <<<"$bytes" | sed 's/^/\\x/' | tr -d '\n')" >"$TMP/footer"
	truncate -s "$len" "$TMP/footer"
	cat "$TMP/footer" >>"$img"
}

for disk in "${disks[@]}"; do
	name="blocks of $(blockdev --getss "$disk")"
	make_fs ext4 "$disk"

	# Sizes that are, with and without the footer, no multiples of anything
	for size in 8M 8389120 4198912; do
		rm -f "$img"
		qemu-img create -q -f vpc -o subformat=fixed,force_size "$img" "$size"
		sectors=$(($(stat -c %s "$img") / 512 - 1))
		footer=$(tail -c 512 "$img" | sha256sum)
		vd a $sectors "vhd1 $img"
		ok $? "$name: qemu-img, $sectors sectors"
		is "$(blockdev --getss "$a")" 512 "$name: its blocks have 512 bytes"
		verified "$name: all of it" "${io[@]}" --dump-model "$TMP/model" "$a"
		run_ok "$name: the last sector" dd if=/dev/urandom of="$a" bs=512 seek=$((sectors - 1)) count=1 oflag=direct
		blkdiscard -z -o $(((sectors - 1) * 512)) -l 512 "$a"
		run_fails "$name: nothing behind it" dd if=/dev/urandom of="$a" bs=512 seek=$sectors count=1 oflag=direct
		is "$(counter a vhd1 1 id)" "$(tail -c 444 "$img" | head -c 16 | od -An -v -tx1 | tr -d ' \n')" "$name: the status has the id"
		scratch=a
		refused "vhd1: has $sectors sectors, $((sectors + 1)) are asked of it" "vhd1 $img" $((sectors + 1))
		scratch=scratch
		dd if="$a" of="$TMP/content" bs=1M iflag=fullblock status=none
		gone a
		is "$(tail -c 512 "$img" | sha256sum)" "$footer" "$name: the footer is as it was"
		is "$(stat -c %s "$img")" $(((sectors + 1) * 512)) "$name: and where it was"
		run_ok "$name: QEMU reads the same" qemu-img compare -f vpc -F raw "$img" "$TMP/content"
		run_ok "$name: QEMU says it is one" qemu-img info -f vpc "$img"
	done

	for len in 512 511; do
		rm -f "$img"
		openvmm 8193 $len
		vd a 8193 "vhd1 $img"
		ok $? "$name: OpenVMM, footer of $len"
		verified "$name: all of it" "${io[@]}" "$a"
		gone a
		is "$(stat -c %s "$img")" $((8193 * 512 + len)) "$name: as long as before"
		run_ok "$name: the footer as before" cmp <(tail -c "$len" "$img") "$TMP/footer"
	done
	openvmm 8193
	vd a 8193 "vhd1 $img buffered"
	verified "$name: buffered" "${io[@]}" --dump-model "$TMP/model" "$a"
	gone a
	head -c $((8193 * 512)) "$img" >"$TMP/content"
	verified "$name: buffered: the file" --check-file "$TMP/model" "$TMP/content"
	run_ok "$name: buffered: the footer as before" cmp <(tail -c 512 "$img") "$TMP/footer"
	umount "$mnt"
done

make_fs ext4 "${disks[0]}"
qemu-img create -q -f vpc -o subformat=dynamic "$mnt/dynamic" 8M
refused 'vhd1: a dynamic VHD; make it fixed by qemu-img convert -O vpc -o subformat=fixed' "vhd1 $mnt/dynamic" 8
openvmm 16
cp "$img" "$mnt/good"
truncate -s 1M "$mnt/raw"
refused 'vhd1: footer: missing' "vhd1 $mnt/raw" 8
truncate -s 511 "$mnt/short"
truncate -s 100 "$mnt/shorter"
: >"$mnt/empty"
refused 'vhd1: footer: missing' "vhd1 $mnt/short" 8
refused 'vhd1: path: of 100 bytes, which no VHD has' "vhd1 $mnt/shorter" 8
refused 'vhd1: path: of 0 bytes, which no VHD has' "vhd1 $mnt/empty" 8
poke $((16 * 512 + 60)) '\0\0\0\4'
refused 'vhd1: footer: wrong checksum' "vhd1 $img" 8
refused "vhd1: 'shared': unknown word" "vhd1 $img shared" 8
refusals
dmsetup create --readonly "${VD}a" --table "0 16 vdisk vhd1 $mnt/good ro"
ok $? 'ro'
is "$(table a)" "vhd1 $mnt/good ro" 'its table'
gone a scratch
run_ok 'unmount' umount "$mnt"
done_testing
