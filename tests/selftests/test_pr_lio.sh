#!/bin/bash
# LIO passes reservations of SCSI on to pr: two LUNs on two devices of one domain, sg_persist, and what fence_scsi does.
# kernels: 6.12 7.3
# check: 7.3
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_LOOPBACK_TARGET CONFIG_TCM_IBLOCK CONFIG_BLK_DEV_SD CONFIG_CHR_DEV_SG CONFIG_BLK_DEV_NULL_BLK
load_vdisk
modprobe -a target_core_mod target_core_iblock tcm_loop sd_mod sg
target=/sys/kernel/config/target
mkdir -p "$(<"$target/dbroot")/pr"
null_disk 8 512 cache_size=1
n=$(sectors "$DISK")
for nexus in a b; do
	vd "$nexus" "$n" "pr domain:d nexus:$nexus ( block $DISK )"
done

# export N NAME: LUN N is the mapped device, through a target of its own, so that each initiator has its own device
export_lun() {
	local dir=$target/core/iblock_$1/$2 tpg=$target/loopback/naa.600140500000000$1/tpgt_0
	mkdir -p "$dir" "$tpg"
	undo=("rmdir $tpg/lun/lun_0" "rmdir $tpg" "rmdir ${tpg%/*}" "rmdir $dir" "rmdir ${dir%/*}" "${undo[@]}")
	echo "udev_path=/dev/mapper/$VD$2,readonly=0" >"$dir/control"
	echo 1 >"$dir/enable"
	echo 0 >"$dir/attrib/pgr_support" # LIO's word for: pass them on
	echo "vdisk$2" >"$dir/wwn/vpd_unit_serial"
	echo "naa.600140500000001$1" >"$tpg/nexus"
	mkdir "$tpg/lun/lun_0"
	ln -s "$dir" "$tpg/lun/lun_0/disk"
	undo=("rm $tpg/lun/lun_0/disk" "${undo[@]}")
}
# scsi NAME: its disk; LIO puts the serial number into what the kernel shows
scsi() {
	local dir
	for dir in /sys/block/sd*; do
		grep -qs "vdisk$1" "$dir/device/vpd_pg80" && [[ -b /dev/${dir##*/} ]] && echo "/dev/${dir##*/}" && return
	done
	return 1
}
export_lun 1 a
export_lun 2 b
wait_for 20 scsi a && wait_for 20 scsi b
ok $? 'LIO gives two disks'
sda=$(scsi a) sdb=$(scsi b)
p() { sg_persist -n "$@" 2>/dev/null; }
out() { p --out "$@" >/dev/null 2>&1; echo $?; }
keys() { p --in --read-keys "$1" | grep -o '0x.*' | xargs; }
held() { p --in --read-reservation "$1" | grep -oE 'Key=.*|type:.*|NO reser.*' | xargs; }
writes() { dd if=/dev/zero of="$1" bs=4k count=1 oflag=direct conv=notrunc status=none 2>&1 | grep -o 'Invalid exchange'; }
conflict=24

# The first commands find unit attentions
wait_for 10 sg_turs "$sda"
wait_for 10 sg_turs "$sdb"
wait_for 10 sg_persist -n --in --read-keys "$sdb"
is "$(keys "$sda")" '0x0, there are NO registered reservation keys' 'no keys'
is "$(p --in --report-capabilities "$sda" | grep -c 'Mask Valid')" 1 'report capabilities'
is "$(out --register --param-sark=0xa "$sda")" 0 'register'
is "$(out --register --param-sark=0xb "$sda")" "$conflict" 'register once more: conflict'
is "$(out --register --param-rk=0x99 --param-sark=0xa "$sda")" "$conflict" 'with a wrong key, for the key it has: conflict'
is "$(keys "$sdb")" '0x1, 1 registered reservation key follows: 0xa' 'and nothing is lost'
is "$(out --register-ignore --param-sark=0xb "$sdb")" 0 'register and ignore, on the other LUN'
is "$(keys "$sda")" '0x2, 2 registered reservation keys follow: 0xa 0xb' 'read keys'
is "$(dmsetup message "${VD}a" 0 pr read-keys)" 'generation=2 key=0xa key=0xb' 'the message says the same'
types=(x 1 3 5 6 7 8)
for type in 1 2 3 4 5 6; do
	is "$(out --reserve --param-rk=0xa --prout-type="${types[type]}" "$sda")" 0 "type $type: reserve"
	is "$(out --reserve --param-rk=0xa --prout-type="${types[type]}" "$sda")" 0 "type $type: again"
	is "$(dmsetup message "${VD}b" 0 pr read-reservation | grep -o 'type=.*' | wc -w)" 2 "type $type: is there"
	((type < 5)) && want=$conflict || want=0
	is "$(out --reserve --param-rk=0xb --prout-type="${types[type]}" "$sdb")" "$want" "type $type: the other one reserves"
	is "$(out --release --param-rk=0xb --prout-type="${types[type]}" "$sdb")" 0 "type $type: the other one releases"
	((type > 4)) || is "$(out --release --param-rk=0xa --prout-type="${types[type]}" "$sda")" 0 "type $type: release"
	is "$(held "$sda")" 'NO reservation held' "type $type: released"
done
is "$(out --clear --param-rk=0xa "$sda")" 0 'clear'
is "$(out --clear --param-rk=0xb "$sdb")" "$conflict" 'nobody is registered'

# fence_scsi: on: register and ignore; reserve write exclusive, registrants only, unless somebody did
for node in a b; do
	sd=sd$node
	is "$(out --register-ignore --param-sark="0x1000$node" "${!sd}")" 0 "$node: unfence"
done
is "$(out --reserve --param-rk=0x1000a --prout-type=5 "$sda")" 0 'a reserves'
is "$(held "$sdb")" 'Key=0x1000a type: Write Exclusive, registrants only' 'b sees it'
is "$(writes "$sda") $(writes "$sdb")" ' ' 'both write'
# off: preempt and abort the node's key; list: who is registered
is "$(out --preempt-abort --param-rk=0x1000a --param-sark=0x1000b --prout-type=5 "$sda")" 0 'a fences b'
is "$(keys "$sda" | grep -o 'follow.*')" 'follows: 0x1000a' 'b has lost its key'
is "$(writes "$sda") $(writes "$sdb")" ' Invalid exchange' 'b writes no more'
is "$(dd if="$sdb" bs=4k count=1 iflag=direct status=none | wc -c)" 4096 'b can read'
is "$(counter b pr 1 preempted)" 2 'b is told, as it was of the clear'
is "$(out --register-ignore --param-sark=0x1000b "$sdb")" 0 'b: unfence'
is "$(writes "$sdb")" '' 'b writes again'
done_testing
