#!/bin/bash
# crypt and dm-crypt read each other's bytes: keys of 32 and 64 bytes, sectors of 512 to 4096 bytes, both ways of counting
# them, any offset, disks with blocks of 512 and of 4096 bytes; direct and through the page cache.
# check: 6.12
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_CRYPT CONFIG_KEYS
load_vdisk
null_disk 3 512
null_disk 3 4096
io=(-n "${VDISK_OPS:-20}" -m 256 -f 2 -r 30)
declare -i len=4096 start=1024
dump=$TMP/model

# both_ways NAME: v is the vdisk, s is dm-crypt
both_ways() {
	local v=/dev/mapper/${VD}v s=/dev/mapper/${VD}s complaint=''
	head -c 300000 /dev/urandom >"$TMP/data"
	vdio "${io[@]}" --dump-model "$dump" "$v" >"$TMP/out" 2>&1 || complaint+='writing through vdisk; '
	vdio --check-file "$dump" "$s" >>"$TMP/out" 2>&1 || complaint+='reading that through dm-crypt; '
	vdio "${io[@]}" --dump-model "$dump" "$s" >>"$TMP/out" 2>&1 || complaint+='writing through dm-crypt; '
	vdio --check-file "$dump" "$v" >>"$TMP/out" 2>&1 || complaint+='reading that through vdisk; '
	cmp "$v" "$s" >>"$TMP/out" 2>&1 || complaint+='through the page cache; '
	# In the middle of blocks, so they are read first
	dd if="$TMP/data" of="$v" bs=10000 seek=7 conv=fsync,notrunc status=none >>"$TMP/out" 2>&1 || complaint+='writing through the page cache; '
	blockdev --flushbufs "$s" "$v"
	cmp "$v" "$s" >>"$TMP/out" 2>&1 || complaint+='what was written through the page cache; '
	cmp -n 300000 -i 70000:0 "$s" "$TMP/data" >>"$TMP/out" 2>&1 || complaint+='the bytes written through the page cache; '
	is "$complaint" '' "$1"
	[[ ! $complaint ]] || comment "$(<"$TMP/out")"
}

for size in 32 64; do
	key "k$size" "$size"
	for sector in 512 1024 2048 4096; do
		for large in '' iv_large_sectors; do
			for iv in 0 123456789120; do
				for disk in "${disks[@]}"; do
					read -ra options <<<"sector_size:$sector $large"
					crypt_vd v "$len" "block $disk start:$start" "$iv" "${options[@]}"
					crypt_dm s "$len" "$disk $start" "$iv" "${options[@]}"
					both_ways "key $size, ${options[*]}, iv_offset $iv, blocks of $(blockdev --getss "$disk")"
					gone v s
				done
			done
		done
	done
done
is "$(head -c "$((start * 512))" "$DISK" | tr -d '\0' | wc -c)" 0 'nothing in front of the start'

# The options that are not said are dm-crypt's own
vd v "$len" "crypt key:$KEY cipher:aes-xts-plain64 ( block $disk start:$start )"
crypt_dm s "$len" "$disk $start" 0
both_ways 'no options'
# Nobody can poll for what may be a worker's. dm-crypt of 6.1 wants single pages only, for a reason that is gone since a bio
# is cut to its device's limits whoever sends it.
ignore=io_poll
[[ $VDISK_KERNEL != 6.1 ]] || ignore+='|max_segment_size'
same_queue 'the same queue' v s "^./($ignore):"
gone v s
done_testing
