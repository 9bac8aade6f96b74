#!/bin/bash
# Once the device is removed and its key is out of the keyring, no memory holds it. Nothing tells it before, either.
# check: 6.12
# vm: --mem 512M
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_CRYPT CONFIG_KEYS CONFIG_PROC_KCORE
load_vdisk
null_disk 8 512
modprobe -q algif_skcipher

copies() { keyscan search "$TMP/masked-$1" | tee -a "$TMP/searched" | sed 's/.*, \([0-9]*\) copies/\1/'; }
# shellcheck disable=SC2317 # called by wait_for
no_copies() { [[ $(copies "$1") == 0 ]]; }
# secret NAME BYTES TYPE: a key that only the kernel knows; sets $KEY
secret() { keyscan make "$2" "$3" "vdisk:$$-$1" "$TMP/masked-$1" >"$TMP/serial-$1" && KEY=":$2:$3:vdisk:$$-$1"; }
use() { vdio -n 60 -m 128 --verify "/dev/mapper/${VD}$1"; }

secret unused 64 logon
unlink_key unused
run_ok 'a key that nobody used goes with its keyring' wait_for 120 no_copies unused

# One stays, as the proof that the search finds what is there.
secret live 64 logon
run_ok 'a live device' crypt_vd live 8192 "block $DISK" 0
unlink_key live
for type in logon user; do
	for size in 32 64; do
		name="$type, $size bytes"
		secret "$type$size" "$size" "$type"
		run_ok "$name: loads" crypt_vd a 8192 "block $DISK" 0
		run_ok "$name: works" use a
		run_ok "$name: reload" reload a "$(dmsetup table "${VD}a")"
		gone a
		unlink_key "$type$size"
		run_ok "$name: removed, and gone from memory" wait_for 120 no_copies "$type$size"
	done
done

secret wiped 64 logon
crypt_vd a 8192 "block $DISK" 0
use a >/dev/null
dmsetup suspend "${VD}a"
run_ok 'wipe' dmsetup message "${VD}a" 0 crypt key wipe
unlink_key wiped
run_ok 'wiped, and gone from memory though the device is there' wait_for 120 no_copies wiped
gone a

secret refused 64 logon
run_fails 'a load that is refused, the device being too short' crypt_vd a 81920000 "block $DISK" 0
run_fails 'a load that is refused, of two nodes of which one is wrong' crypt_vd a 8192 "block /dev/mapper/${VD}none" 0
unlink_key refused
run_ok 'refused, and gone from memory' wait_for 120 no_copies refused

found=$(copies live)
ok "$((found < 2))" "the search finds the key of the live device ($found copies)"
comment "$(<"$TMP/searched")"
done_testing
