#!/bin/bash
# A child's status comes up as it is, through every kind of node, and is counted at the leaf that had it.
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_DM_FLAKEY CONFIG_SCSI_DEBUG CONFIG_BLK_DEV_SD
load_vdisk
null_disk 8 512 discard=1
good=$DISK
# Leaves that fail, each with its own status
vd medium 4096 'test mode:fail ( zero )'
vd full 4096 'ram max:8'
dm io '0 4096 error'
dd if=/dev/zero of="/dev/mapper/${VD}full" bs=4096 count=1 oflag=direct status=none

# A SCSI disk that has become smaller, and nobody has told the kernel: what lies behind its end is an illegal request.
modprobe sd_mod
modprobe scsi_debug dev_size_mb=8 virtual_gb=1
undo=('modprobe -r scsi_debug')
# shellcheck disable=SC2317 # called by wait_for
find_scsi() {
	scsi=$(basename /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*)
	[[ -b /dev/$scsi ]]
}
wait_for 20 find_scsi
dm target "0 4096 linear /dev/$scsi 1000000"
echo 0 >/sys/bus/pseudo/drivers/scsi_debug/virtual_gb
# A disk that another nexus has for itself
null_disk 8 512
vd holder 4096 "pr domain:d$$ nexus:a ( block $DISK )"
vd conflict 4096 "pr domain:d$$ nexus:b ( block $DISK )"
prioctl "/dev/mapper/${VD}holder" register 0 0x11 >/dev/null
is "$(prioctl "/dev/mapper/${VD}holder" reserve 0x11 2)" ok 'a reservation'

# error COMMAND...: what it says
declare -A says=([medium]='No data available' [full]='No space left on device' [io]='Input/output error'
	[target]='Remote I/O error' [conflict]='Invalid exchange')

for leaf in medium full io target conflict; do
	bad="block /dev/mapper/$VD$leaf"
	for stack in "$bad" "striped chunk:8 ( block $good len:4096 ) ( $bad )" "concat ( block $good len:8 ) ( $bad )" \
		"test up ( $bad )" "test mode:work piece:1 ( striped chunk:8 ( block $good ) ( $bad ) )" \
		"delay read:1ms write:1ms ( $bad )" "striped chunk:8 ( block $good ) ( delay write:2ms ( test up ( $bad ) ) )" \
		"striped chunk:8 ( test mode:work ( block $good ) ) ( test piece:3 up ( $bad ) )"; do
		vd a 4096 "$stack"
		# One write over both children
		is "$(error dd if=/dev/zero of="/dev/mapper/${VD}a" bs=64k count=1 seek=1 oflag=direct)" "${says[$leaf]}" "$leaf: $stack"
		n=$([[ $stack == *"$good"* ]] && echo 2 || echo 1)
		errors=$(counter a block "$n" errors)
		ok "$((errors == 0))" "$leaf: counted ($errors)"
		((n == 1)) || is "$(counter a block 1 errors)" 0 "$leaf: and not at the other"
		# What is full can be read.
		[[ $leaf == full ]] ||
			is "$(error dd if="/dev/mapper/${VD}a" of=/dev/null bs=64k count=1 skip=1 iflag=direct)" "${says[$leaf]}" "$leaf, read: $stack"
		gone a
	done
done

vd a 4096 "striped chunk:8 ( test mode:fail ( ram ) ) ( ram )"
is "$(error dd if="/dev/mapper/${VD}a" of=/dev/null bs=4k count=1 iflag=direct)" "${says[medium]}" 'the failing child'
run_ok 'the other child' dd if="/dev/mapper/${VD}a" of=/dev/null bs=4k count=1 skip=1 iflag=direct
is "$(error blkdiscard -f "/dev/mapper/${VD}a")" "${says[medium]}" 'a discard over both'
gone a

# A flakey leaf: down, then up again
dm flakey "0 4096 flakey $good 0 0 1000 1 error_writes"
dm flakey2 "0 4096 linear $good 4096"
vd a 8192 "test up ( striped chunk:8 ( block /dev/mapper/${VD}flakey ) ( block /dev/mapper/${VD}flakey2 ) )"
is "$(error dd if=/dev/zero of="/dev/mapper/${VD}a" bs=64k count=1 oflag=direct)" "${says[io]}" 'flakey: writes fail'
run_ok 'flakey: reads do not' dd if="/dev/mapper/${VD}a" of=/dev/null bs=64k count=1 iflag=direct
run_ok 'flakey: comes back' reload flakey "0 4096 linear $good 0"
verified 'flakey: and then all is well' -n 200 --verify "/dev/mapper/${VD}a"
gone a flakey flakey2 conflict holder target io full medium
done_testing
