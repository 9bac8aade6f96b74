#!/bin/bash
# The host's hands stay off what is in a guest's disk: udevd with Debian's rules, LVM, mdadm, multipath and systemd neither read
# a disk nor start what is in it, at no event; with --scan they do.
# kernels: 6.1 6.12 7.3
# check: 6.12
# timeout: 300
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/system.sh
. "$selftests/system.sh"

need CONFIG_EXT4_FS CONFIG_OVERLAY_FS CONFIG_MD_RAID1 CONFIG_BLK_DEV_NULL_BLK
load_vdisk
null_disk 256 512
system_root
ok $? 'the product is installed'
# With direct I/O, which tmpfs on 6.1 has not
mkfs.ext4 -q -O ^has_journal "$DISK"
mount "$DISK" "$root/srv"
undo=("umount -l $root/srv" "${undo[@]}")
cat >"$root/probe" <<'PROBE'
cd /srv
kinds='vg fs md'
truncate -s 24M vg fs md
vdisk create prep file vg >/dev/null
lvm pvcreate -qq -y /dev/mapper/prep && lvm vgcreate -qq hostvg /dev/mapper/prep && lvm lvcreate -qq -y -Zn -n root -l 2 hostvg
lvm vgchange -qq -an hostvg
vdisk remove prep
mkfs.ext4 -q -b 4096 -L host-root fs
vdisk create prep file md >/dev/null
mdadm --create /dev/md/host --level=1 --raid-devices=2 --metadata=1.2 --run --quiet /dev/mapper/prep missing
mdadm --stop --quiet /dev/md/host
vdisk remove prep
udevadm settle

# What was read of each disk, what is told of it, and what there is because of it
look() {
	udevadm settle
	echo "$1: read: $(for kind in $kinds; do
		dmsetup status "$kind" 2>/dev/null | grep -qE ' reads=0 ' || echo "$kind"
	done | xargs)"
	echo "$1: told: $(for kind in $kinds; do
		udevadm info -q property "/dev/mapper/$kind" 2>/dev/null | grep -q '^ID_FS_TYPE=' && echo "$kind"
	done | xargs)"
	echo "$1: links: $(cd /dev/disk && ls by-label by-id 2>/dev/null | grep -oE '^(host-root|lvm-pv|dm-name-..$)' | xargs)"
	echo "$1: started: $(ls -d /dev/hostvg/root 2>/dev/null) $(grep -o '^md[0-9]*' /proc/mdstat)"
	echo "$1: units: $(for kind in $kinds; do systemctl is-active "dev-mapper-$kind.device"; done | xargs)"
}
for kind in $kinds; do
	vdisk create "$kind" file "$kind" >/dev/null
done
look create
lvm pvs --config 'devices/global_filter=["r|/dm-uuid-VDISK-[0-9a-f]|"]' >/dev/null
look pvs
dmsetup info -c --noheadings -o uuid vg
udevadm trigger --settle --action=change --subsystem-match=block
look change
udevadm trigger --settle --action=add --subsystem-match=block
look coldplug
# As if a watch were on it
for kind in $kinds; do
	dd if="/dev/mapper/$kind" bs=4k count=1 status=none | dd of="/dev/mapper/$kind" bs=4k conv=notrunc oflag=direct status=none
done
sleep 1
udevadm settle
echo "watched: $(for kind in $kinds; do udevadm info -q property "/dev/mapper/$kind" | grep '^ID_FS_TYPE='; done | xargs)"
for kind in $kinds; do
	vdisk remove "$kind" && vdisk create "$kind" file "$kind" >/dev/null
done
# All that udev knew is lost, as when it is installed anew
udevadm info --cleanup-db
udevadm trigger --settle --action=change --subsystem-match=block
look forgotten
vdisk grow fs +8M >/dev/null
look grown
# The host has a volume group and a file system of these names of its own.
filter='devices/global_filter=["r|/dm-uuid-VDISK-[0-9a-f]|"]'
truncate -s 24M own-vg own-fs
modprobe loop
own_vg=$(losetup --find --show own-vg)
lvm pvcreate --config "$filter" -qq -y "$own_vg" && lvm vgcreate --config "$filter" -qq hostvg "$own_vg" &&
	lvm lvcreate --config "$filter" -qq -y -Zn -n root -l 2 hostvg
mkfs.ext4 -q -b 4096 -L host-root own-fs
own_fs=$(losetup --find --show own-fs)
for action in change add; do
	udevadm trigger --settle --action=$action --subsystem-match=block
	own="own, $action: $(lvm vgs --config "$filter" --noheadings -o vg_name,pv_name | xargs)"
	own+=" $(dmsetup deps -o devname hostvg-root | xargs) $(readlink -f /dev/disk/by-label/host-root)"
	own=${own//$own_vg/OWN-VG} own=${own//$own_fs/OWN-FS}
	echo "${own//"(${own_vg##*/})"/(OWN-VG)}"
done
lvm vgchange --config "$filter" -qq -an hostvg
losetup -d "$own_vg" "$own_fs"
rm own-vg own-fs
udevadm settle
look own
# Its service does not run here; what it would take for a path is asked.
multipath -v3 -d >/multipath 2>&1
echo "multipath: $(for kind in $kinds; do
	grep -qE "\\b$(basename "$(readlink /dev/mapper/$kind)"): device node name blacklisted" /multipath && echo "$kind"
done | xargs)"
lvm pvs >/dev/null
look unfiltered
for kind in $kinds; do
	vdisk remove "$kind" && dmsetup create "$kind" --uuid "VDISK-$kind" --table "0 49152 vdisk file /srv/$kind"
done
look dmsetup
for kind in $kinds; do
	vdisk remove "$kind" && vdisk create "$kind" --scan file "$kind" >/dev/null
done
for ((i = 0; i < 600; i++)); do
	[[ ! -e /dev/hostvg/root ]] || break
	sleep 0.1
done
look scan
dmsetup info -c --noheadings -o uuid vg
vdisk grow fs +8M >/dev/null
look scan-grown
lvm vgchange -qq -an hostvg
mdadm --stop --quiet --scan
for kind in $kinds; do
	vdisk remove "$kind"
done
dmsetup ls
{ udevadm info -q all /sys/block/dm-*; cat /proc/mdstat; journalctl -b --no-pager; } >/debug 2>&1
PROBE
boot /probe
cp "$root/debug" "$TMP/log" "$VDISK_ARTIFACTS/"
mapfile -t said <"$TMP/said"
comment "${said[@]}"
# line TEXT: it says so
line() { grep -qxE -- "$1" "$TMP/said"; ok $? "$1"; }
for when in create pvs change coldplug forgotten grown own dmsetup; do
	line "$when: read: "
	line "$when: told: "
	line "$when: links: "
	line "$when: started:  "
	line "$when: units: inactive inactive inactive"
done
for when in change add; do
	line "own, $when: hostvg OWN-VG 1 dependencies : \(OWN-VG\) OWN-FS"
done
line 'multipath: vg fs md'
line 'watched: '
line 'unfiltered: read: vg fs md'
line 'VDISK-[0-9a-f]{8}-.*'
for when in scan scan-grown; do
	line "$when: read: vg fs md"
	line "$when: told: vg fs md"
	line "$when: links: .*host-root.*"
	line "$when: started: /dev/hostvg/root md[0-9]*"
	line "$when: units: active active active"
done
line 'VDISK-SCAN-[0-9a-f]{8}-.*'
line 'No devices found'
done_testing
