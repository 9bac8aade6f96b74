#!/bin/bash
# Suspend, reload with another stack, and grow, in rounds under verified I/O of 4 threads: no wrong byte, no error, no hang.
# check: 6.1
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK
load_vdisk
for _ in 1 2 3; do
	null_disk 16 512 discard=1
done
striped="striped chunk:64 $(children 2)"
part="start:0 len:16384"

# The same bytes by another way: each has the first 32768 sectors of the stripe where the others have them.
stacks=(
	"$striped"
	"test mode:work ( $striped )"
	"striped chunk:64 ( test mode:timer period:200us up ( block ${disks[0]} ) ) ( test piece:16 ( block ${disks[1]} ) )"
	"concat ( test mode:read ( striped chunk:64 $(children 2 "$part") ) ) ( striped chunk:64 $(children 2 start:16384) )"
)

length=32768

# shellcheck disable=SC2317
grow() { reload a "0 $((32768 + 128 * $1 + 128)) vdisk ${stacks[$1 % 3]}"; }

vd a 32768 "${stacks[0]}"
io=(-d 3 -z 3 -f 2 -w 20 --size "$((32768 * 512))")
under_load 'suspend and resume' suspend_resume "${io[@]}"
under_load 'reload with another stack' another_stack "${io[@]}"
under_load grow grow "${io[@]}"
is "$(sectors "/dev/mapper/${VD}a")" "$((32768 + 128 * rounds))" 'it has grown'
done_testing
