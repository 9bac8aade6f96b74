#!/bin/bash
# Every allocation of I/O fails in turn, in whatever context it is made: an operation fails for want of memory or not at all,
# and afterwards all works again.
# kernels: uml-6.12
# timeout: 600
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

# shellcheck source=tests/selftests/crypt.sh
. "$selftests/crypt.sh"

# shellcheck source=tests/selftests/faults.sh
. "$selftests/faults.sh"

need CONFIG_KEYS
load_vdisk
key k 64
crypt="crypt cipher:aes-xts-plain64 key:$KEY"
for ((i = 0; i < 3; i++)); do
	null_disk 16 512
	# It takes its memory in our name: all of it now.
	dd if=/dev/zero of="$DISK" bs=1M oflag=direct count=16 status=none
done
base=${disks[0]} store=${disks[1]}
filter_module
len=8192
image=$TMP/image
truncate -s 4M "$image"
mkstore format "$store" --len $len

# each NAME STACK [STEP]: STEP bytes of slab are less than what a bio takes
total=0
each() {
	local injector step n
	vd a $len "$2"
	for injector in slab page; do
		step=$([[ $injector == slab ]] && echo "${3:-64}" || echo 1)
		failio "/dev/mapper/${VD}a" $injector "$step" >"$TMP/said" 2>&1
		ok $? "$1: $(tail -n 1 "$TMP/said")"
		comment "$(head -n -1 "$TMP/said")"
		n=$(sed -n 's/^\([0-9]*\) allocations .*/\1/p' "$TMP/said")
		total=$((total + ${n:-0}))
	done
	gone a
}
each 'remaps' "striped chunk:8 $(children 2 start:16384)"
each 'multiplies' "test piece:8 mode:read up ( striped chunk:16 ( test mode:work ( block $base ) ) ( block ${disks[2]} ) )" 448
each 'ram' ram
each 'crypt' "$crypt ( test mode:work up ( block $base ) )"
each 'delay' "delay read:100us write:100us flush:100us ( block $base )"
each 'overlay volatile' "overlay volatile ( ram ) ( block $base )"
each 'overlay' "overlay copy_on_read ( block $store ) ( block $base )"
each 'file' "file $image buffered"
each 'pr' "pr domain:d$$ nexus:a ( block $base )"
ok $((total < 200)) "$total allocations failed"
run_ok 'the store is clean' vdisk check "$store"
run_ok 'nothing holds the module' rmmod dm_vdisk
nothing_leaked
done_testing
