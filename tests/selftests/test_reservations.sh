#!/bin/bash
# Reservations and other ioctls reach a device through a stack that is that device, and no other stack.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_LOOPBACK_TARGET CONFIG_BLK_DEV_SD
load_vdisk
modprobe target_core_mod
modprobe tcm_loop
modprobe sd_mod
target=/sys/kernel/config/target
wwn=naa.6001405000000000
# The kernel asks for reservations that outlive power, which LIO keeps in files.
mkdir -p "$target/core/rd_mcp_0" "$(<"$target/dbroot")/pr"

# lun N: a SCSI disk of LIO in memory, with reservations
lun() {
	local dir=$target/core/rd_mcp_0/$VD$1
	mkdir "$dir"
	undo=("rmdir $dir" "${undo[@]}")
	echo rd_pages=2048 >"$dir/control"
	echo 1 >"$dir/enable"
	echo "$VD$1" >"$dir/wwn/vpd_unit_serial"
	mkdir -p "$tpg/lun/lun_$1"
	ln -s "$dir" "$tpg/lun/lun_$1/disk"
	undo=("rm $tpg/lun/lun_$1/disk" "rmdir $tpg/lun/lun_$1" "${undo[@]}")
}

tpg=$target/loopback/$wwn/tpgt_0
mkdir -p "$tpg"
undo=("rmdir $tpg" "rmdir ${tpg%/*}")
echo naa.6001405000000001 >"$tpg/nexus"
lun 0
lun 1
# disk N: its node; there is no other SCSI disk
disk() {
	local dir
	for dir in /sys/bus/scsi/devices/*:"$1"/block/*; do
		[[ -b /dev/${dir##*/} ]] && echo "/dev/${dir##*/}" && return
	done
	return 1
}
wait_for 20 disk 0 && wait_for 20 disk 1
ok $? 'LIO gives two disks'
d0=$(disk 0) d1=$(disk 1)
registrations() { grep -ci 'key' "$target/core/rd_mcp_0/$VD$1/pr/res_pr_registered_i_pts"; }
n=$(sectors "$d0")
# The first commands of a new nexus may find a unit attention.
# shellcheck disable=SC2317 # called by wait_for
leaf_registers() { [[ $(prioctl "$d0" register 0 0x11) == ok ]]; }
wait_for 10 leaf_registers
ok $? "the leaf has reservations"
is "$(registrations 0)" 1 'and LIO tells of them'
is "$(prioctl "$d0" register 0x11 0)" ok 'unregister'

for stack in "block $d0" "concat ( block $d0 )" "striped chunk:8 ( concat ( block $d0 ) )"; do
	vd a "$n" "$stack"
	a=/dev/mapper/${VD}a
	is "$(prioctl "$a" register 0 0x22)" ok "$stack: register"
	is "$(registrations 0)" 1 "$stack: reaches the device"
	is "$(prioctl "$a" reserve 0x22 1)" ok "$stack: reserve"
	is "$(prioctl "$a" release 0x22 1)" ok "$stack: release"
	is "$(prioctl "$a" clear 0x22)" ok "$stack: clear"
	is "$(registrations 0)" 0 "$stack: all gone"
	is "$(prioctl "$a" sgio)" ok "$stack: SG_IO"
	gone a
done

is "$(prioctl "$d0" register 0 0x33)" ok 'the leaf has a key'
for stack in "test ( block $d0 )" "test ( striped chunk:8 ( block $d0 ) ( block $d1 ) )" \
	"concat ( test ( block $d0 ) )" 'ram'; do
	vd a 8192 "$stack"
	a=/dev/mapper/${VD}a
	for call in 'register 0 0x22' 'register 0x33 0x22' 'reserve 0x33 1' 'release 0x33 1' 'preempt 0x33 0x33 1' \
		'preempt-abort 0x33 0x33 1' 'clear 0x33'; do
		# shellcheck disable=SC2086
		[[ $(prioctl "$a" $call) == @(EOPNOTSUPP|ENOTTY) ]]
		ok $? "$stack: $call"
	done
	is "$(prioctl "$a" sgio)" ENOTTY "$stack: SG_IO"
	gone a
done
is "$(registrations 0)" 1 'the key is untouched'
# By a reload, calls reach the device, do so no longer, and do so again.
vd a 8192 "test ( block $d0 )"
for stack in "block $d0" "test ( block $d0 )" "concat ( block $d0 )"; do
	run_ok "reload: $stack" reload a "0 8192 vdisk $stack"
	want=ok
	[[ $stack != test* ]] || want='EOPNOTSUPP|ENOTTY'
	# shellcheck disable=SC2053 # a pattern
	[[ $(prioctl "$a" register 0x33 0x33) == @($want) ]]
	ok $? "reload: $stack: register: $want"
done
gone a
is "$(registrations 0)" 1 'reload: the key is there'
vd a 8192 "striped chunk:8 ( block $d0 ) ( block $d1 )"
is "$(prioctl "/dev/mapper/${VD}a" sgio)" ENOTTY 'striped over two: SG_IO'
prioctl "$d0" register 0x33 0 >/dev/null
done_testing
