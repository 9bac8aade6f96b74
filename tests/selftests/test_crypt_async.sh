#!/bin/bash
# A cipher whose requests all come back later, from a worker or a hard interrupt, or wait for a place in its queue first:
# the same bytes as dm-crypt with the stock cipher.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.12
# timeout: 400
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_CRYPT CONFIG_KEYS
load_vdisk
null_disk 8 512
null_disk 8 512
read -r d0 d1 <<<"${disks[*]}"
key k 64
stem="crypt cipher:aes-xts-plain64 key:$KEY"
m=/dev/mapper/$VD io=(-n "${VDISK_OPS:-40}" -m 256 -f 2 -r 30)
cipher=$(find "$VDISK_BUILD" -name vdisk-nullxts.ko -print -quit)

# dm-crypt first: it keeps the cipher that it found, and takes no REQ_NOWAIT.
crypt_dm s 8192 "$d0 0" 0
crypt_dm s4 8192 "$d1 0" 0 sector_size:4096
for mode in '' 'irq=1 busy=2' 'busy=1'; do
	# shellcheck disable=SC2086 # words
	insmod "$cipher" async=1 $mode
	name=${mode:-worker}
	vd a 8192 "$stem ( block $d0 )"
	vd b 8192 "$stem sector_size:4096 ( test mode:work up ( block $d1 ) )"
	is "$(counter a crypt 1 cipher) $(counter b crypt 1 cipher)" 'xts-async-vdisk xts-async-vdisk' "$name: the cipher is used"
	for pair in 'a s' 'b s4'; do
		read -r v s <<<"$pair"
		verified "$name: written through vdisk $v" "${io[@]}" -w 20 --dump-model "$TMP/model" "$m$v"
		verified "$name: read through dm-crypt" --check-file "$TMP/model" "$m$s"
		verified "$name: written through dm-crypt" "${io[@]}" --dump-model "$TMP/model" "$m$s"
		verified "$name: read through vdisk $v" --check-file "$TMP/model" "$m$v"
	done
	run_ok "$name: 4 MiB at once" dd if=/dev/zero of="${m}a" bs=4M count=1 oflag=direct status=none
	run_ok "$name: which dm-crypt reads" cmp -n 4M /dev/zero "${m}s"
	blockdev --flushbufs "${m}s"
	gone a b
	run_ok "$name: nothing holds the cipher" rmmod vdisk_nullxts
done
gone s s4
done_testing
