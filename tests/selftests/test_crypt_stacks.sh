#!/bin/bash
# crypt over, under and beside other nodes: the bytes of the same stack of dm targets, also while it is suspended and
# reloaded under verified I/O of 4 threads.
# kernels: 6.1 6.12 7.3 uml-6.12
# check: 6.1
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_CRYPT CONFIG_KEYS
load_vdisk
null_disk 8 512 discard=1
null_disk 8 512 discard=1
read -r d0 d1 <<<"${disks[*]}"
key one 64
one=$KEY
key two 32
two=$KEY
c1="crypt cipher:aes-xts-plain64 key:$one" c2="crypt cipher:aes-xts-plain64 key:$two"
m=/dev/mapper/$VD io=(-n "${VDISK_OPS:-50}" -m 256 -r 30)

# same STACK [SECTORS]: the devices v, and s of dm targets, have the same bytes; then all above the disks go
same() {
	vd v "${2:-16384}" "$1"
	verified "$1: written through vdisk" "${io[@]}" --dump-model "$TMP/model" "${m}v"
	verified "$1: read through dm targets" --check-file "$TMP/model" "${m}s"
	verified "$1: written through dm targets" "${io[@]}" --dump-model "$TMP/model" "${m}s"
	verified "$1: read through vdisk" --check-file "$TMP/model" "${m}v"
	gone v s
}

dm t "0 16384 striped 2 16 $d0 0 $d1 0"
dm s "0 16384 crypt aes-xts-plain64 $one 0 ${m}t 0"
same "$c1 ( striped chunk:16 $(children 2 len:8192) )"
dm s "0 16384 crypt aes-xts-plain64 $two 64 ${m}t 0 2 sector_size:4096 iv_large_sectors"
same "$c2 iv_offset:64 sector_size:4096 iv_large_sectors ( striped chunk:16 $(children 2 len:8192) )"
gone t

# Units that do not lie in one child
for chunk in 4 12; do
	dm t "0 15360 striped 2 $chunk $d0 0 $d1 0"
	dm s "0 15360 crypt aes-xts-plain64 $two 0 ${m}t 0 1 sector_size:4096"
	same "$c2 sector_size:4096 ( striped chunk:$chunk $(children 2 len:7680) )" 15360
	gone t
done
dm t "0 5003 linear $d0 0
5003 11381 linear $d1 0"
dm s "0 16384 crypt aes-xts-plain64 $one 0 ${m}t 0 1 sector_size:2048"
same "$c1 sector_size:2048 ( concat ( block $d0 len:5003 ) ( block $d1 ) )"
gone t

dm t "0 8192 crypt aes-xts-plain64 $one 0 $d0 0"
dm u "0 8192 crypt aes-xts-plain64 $two 8 $d1 0 1 sector_size:2048"
dm s "0 16384 striped 2 32 ${m}t 0 ${m}u 0"
same "striped chunk:32 ( $c1 ( block $d0 ) ) ( $c2 iv_offset:8 sector_size:2048 ( block $d1 ) )"
dm s "0 8192 linear ${m}t 0
8192 8192 linear ${m}u 0"
same "concat ( $c1 ( block $d0 len:8192 ) ) ( $c2 iv_offset:8 sector_size:2048 ( block $d1 ) )"
gone u t

dm t "0 16384 crypt aes-xts-plain64 $one 0 $d0 0 1 sector_size:1024"
dm s "0 16384 crypt aes-xts-plain64 $two 4096 ${m}t 0 1 sector_size:4096"
same "$c2 iv_offset:4096 sector_size:4096 ( $c1 sector_size:1024 ( block $d0 ) )"
gone t

dm t "0 5000 linear $d0 0
5000 11384 linear $d1 0"
dm s "0 16384 crypt aes-xts-plain64 $one 0 ${m}t 0"
same "$c1 ( concat ( block $d0 len:5000 ) ( block $d1 ) )"
gone t

vd v 16384 "$c1 ( ram )"
verified 'over ram' "${io[@]}" --verify "${m}v"
gone v
# What ram has not got reads as zeroes, so as what decrypts from them
vd v 16384 "$c1 ( zero )"
dm z '0 16384 zero'
dm s "0 16384 crypt aes-xts-plain64 $one 0 ${m}z 0"
run_ok 'over zero: the same garbage' cmp "${m}v" "${m}s"
gone v s z

# Under load. All have the same bytes.
base="$c1 sector_size:4096 ( striped chunk:16 $(children 2 len:8192) )"
stacks=(
	"$base"
	"test mode:work up ( $base )"
	"$c1 sector_size:4096 ( test mode:timer period:200us up ( striped chunk:16 $(children 2 len:8192) ) )"
	"test piece:16 ( $c1 sector_size:4096 ( test mode:work ( striped chunk:16 ( block $d0 len:8192 ) ( test up ( block $d1 len:8192 ) ) ) ) )"
)

length=16384

# The key is out of the keyring: tables that name it go on having it.
vd a 16384 "${stacks[0]}"
under_load 'suspend and resume' suspend_resume -f 2 -w 20
under_load 'reload with another stack' another_stack -f 2 -w 20
unlink_key one
under_load 'reload without the key in the keyring' another_stack -f 2 -w 20 -m 1024
dmsetup resume "${VD}a"
verified 'and then' "${io[@]}" --dump-model "$TMP/model" "${m}a"
gone a
key_from one 64
dm t "0 16384 striped 2 16 $d0 0 $d1 0"
dm s "0 16384 crypt aes-xts-plain64 $one 0 ${m}t 0 1 sector_size:4096"
verified 'read through dm targets' --check-file "$TMP/model" "${m}s"
gone s t
done_testing
