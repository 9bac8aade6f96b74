#!/bin/bash
# zero: reads zeroes, drops writes, takes discards.
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

load_vdisk
vd a 65536 zero
a=/dev/mapper/${VD}a
run_ok 'write' dd if=/dev/urandom of="$a" bs=64k count=4 oflag=direct
run_ok 'reads zeroes' cmp -n 4194304 "$a" /dev/zero
run_ok 'discard' blkdiscard "$a"
run_ok 'write zeroes' blkdiscard -z "$a"
run_fails 'secure erase is refused' blkdiscard -s "$a"
done_testing
