#!/bin/bash
# A disk under VMMs, as dm-vdisk-vmm.rst says: QEMU boots from it as virtio-blk, NVMe, and as a SCSI
# disk of LIO, by tcm_loop and by vhost-scsi, and its writes are in the disk, not in the image below.
# kernels: 6.1 6.12 7.3
# check: 6.12
# timeout: 150
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

need CONFIG_LOOPBACK_TARGET CONFIG_TCM_IBLOCK CONFIG_VHOST_SCSI CONFIG_BLK_DEV_SD CONFIG_CHR_DEV_SG
load_vdisk
modprobe -a target_core_mod target_core_iblock tcm_loop vhost_scsi sd_mod sg
dd if="$(command -v prguest)" of="$TMP/golden" conv=sync bs=1M status=none
sum=$(sha256sum <"$TMP/golden")
# said NAME: what the guest says on its serial port
# shellcheck disable=SC2317 # called by wait_for
writes() { grep -aqxE 'W{3,}' "$TMP/serial"; }
# boots NAME DEVICE QEMU_ARGUMENT...
boots() {
	local name=$1 node=$2 pid
	: >"$TMP/serial"
	qemu-system-x86_64 -nodefaults -no-user-config -display none -accel tcg -m 16 -serial "file:$TMP/serial" "${@:3}" 2>"$TMP/err" &
	pid=$!
	wait_for 60 writes
	ok $? "$name: a guest boots from it and writes"
	comment "$(tr -d '\0' <"$TMP/serial" | tail -c 200)" "$(<"$TMP/err")"
	kill "$pid"
	wait "$pid"
	is "$(dd if="$node" bs=512 skip=1 count=1 status=none | od -An -tx1 -j 510 | xargs)" '55 aa' "$name: what it wrote is there"
}
# With blocks of 512 bytes, as the firmware wants them of a SCSI disk
fresh() {
	run_ok "$1: the disk" vdisk create "${VD}vm" "${2:-overlay volatile ( ram ) ( file $TMP/golden buffered )}"
	node=/dev/mapper/${VD}vm
}
gone_again() {
	run_ok "$1: the disk goes" vdisk remove "${VD}vm"
	is "$(sha256sum <"$TMP/golden")" "$sum" "$1: the image is as it was"
}

for aio in native io_uring; do
	fresh "virtio-blk, $aio"
	boots "virtio-blk, $aio" "$node" -blockdev "driver=host_device,node-name=d,filename=$node,aio=$aio,cache.direct=on,discard=unmap" \
		-device virtio-blk-pci,drive=d
	gone_again "virtio-blk, $aio"
done
fresh nvme
boots nvme "$node" -blockdev "driver=host_device,node-name=d,filename=$node,aio=native,cache.direct=on,discard=unmap" \
	-device nvme,drive=d,serial=vm
gone_again nvme

# LIO, with reservations: what a guest sends reaches the pr node
fresh scsi "pr domain:vm nexus:vm ( overlay volatile ( ram ) ( file $TMP/golden buffered ) )"
target=/sys/kernel/config/target
mkdir -p "$(<"$target/dbroot")/pr"
backstore=$target/core/iblock_0/vm tpg=$target/loopback/naa.6001405000000001/tpgt_0
wwn=naa.6001405000000003 vhost=$target/vhost/naa.6001405000000003/tpgt_1
mkdir -p "$backstore" "$tpg" "$vhost"
echo "udev_path=$node,readonly=0" >"$backstore/control"
echo 1 >"$backstore/enable"
[[ ! -e $backstore/attrib/pgr_support ]] || echo 0 >"$backstore/attrib/pgr_support"
echo vm >"$backstore/wwn/vpd_unit_serial"
echo naa.6001405000000002 >"$tpg/nexus"
mkdir "$tpg/lun/lun_0"
ln -s "$backstore" "$tpg/lun/lun_0/disk"
echo "$wwn" >"$vhost/nexus"
mkdir "$vhost/lun/lun_0"
ln -s "$backstore" "$vhost/lun/lun_0/disk"
no_lio() {
	rm "$tpg/lun/lun_0/disk" "$vhost/lun/lun_0/disk"
	rmdir "$tpg/lun/lun_0" "$tpg" "${tpg%/*}" "$vhost/lun/lun_0" "$vhost" "${vhost%/*}" "$backstore" "${backstore%/*}"
}
undo=(no_lio "${undo[@]}")
lio_disk() {
	local dir
	for dir in /sys/block/sd*; do
		grep -qs 'LIO-ORG' "$dir/device/vendor" && [[ -b /dev/${dir##*/} ]] && disk=/dev/${dir##*/} && return
	done
	return 1
}
wait_for 20 lio_disk
ok $? "LIO gives a disk"
wait_for 10 sg_turs "$disk"
boots scsi "$node" -blockdev "driver=host_device,node-name=d,filename=$disk,cache.direct=on" -boot strict=on \
	-device virtio-scsi-pci -device scsi-block,drive=d,bootindex=1
dd if=/dev/zero of="$node" bs=512 seek=1 count=1 oflag=direct status=none
boots vhost-scsi "$node" -object memory-backend-memfd,id=m,size=16M,share=on -machine memory-backend=m -boot strict=on \
	-device "vhost-scsi-pci,wwpn=$wwn,bootindex=1,boot_tpgt=1"
no_lio
gone_again scsi
done_testing
