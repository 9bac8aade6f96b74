#!/bin/bash
# Blocks larger than a page, which a kernel may have since 6.15: what passes bios on takes them, what keeps pages says so.
# kernels: 7.3
# vm: --nvme 64M,lbs=16384 --nvme 64M,lbs=16384
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

load_vdisk
key k 64
d=/dev/nvme0n1 e=/dev/nvme1n1 n=65536
is "$(cat /sys/block/nvme0n1/queue/logical_block_size)" 16384 'the devices have such blocks'
for stack in "block $d" "nvme $d" "striped chunk:32 ( block $d ) ( block $e )" "striped chunk:64 ( ram ) ( block $e )" \
	"concat ( block $d len:32768 ) ( block $e )" "delay read:1ms write:1ms ( block $d )" "pr domain:d nexus:n ( block $d )" \
	"crypt cipher:aes-xts-plain64 key:$KEY ( block $d )" "crypt cipher:aes-xts-plain64 key:$KEY sector_size:4096 ( striped chunk:32 ( block $d ) ( block $e ) )" \
	"test mode:work piece:32 ( block $d )" "test mode:timer up ( concat ( block $d len:32768 ) ( crypt cipher:aes-xts-plain64 key:$KEY ( block $e ) ) )"; do
	vd a "$n" "$stack"
	is "$(limit a logical_block_size)" 16384 "$stack"
	verified "$stack" -n 200 -m 512 -f 4 -u 20 -w 20 --verify "/dev/mapper/${VD}a"
	gone a
done
scratch
refused 'overlay: blocks of 16384 bytes: at most 4096' "overlay volatile ( ram ) ( block $d )" "$n"
refused 'overlay: blocks of 16384 bytes: at most 4096' "overlay ( block $d ) ( zero )" "$n"
refused 'cache: blocks of 16384 bytes: at most 4096' "cache volatile write_through ( ram ) ( block $d )" "$n"
refused 'striped: chunk: not a multiple of the block size, 32 sectors' "striped chunk:8 ( block $d ) ( block $e )" "$n"
refused 'block: start: not a multiple of the block size, 32 sectors' "block $d start:8" "$n"
refusals
gone scratch
run_ok 'nothing holds the module' rmmod dm_vdisk
done_testing
