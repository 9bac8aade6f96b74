#!/bin/bash
# /etc/vdisktab under systemd: the host boots twice, and each time its disks come up in order, with what was written, and go;
# wrong lines lose only themselves.
# kernels: 6.1 6.12 7.3
# check: 6.12
# timeout: 300
# shellcheck source=tests/selftests/common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=tests/selftests/system.sh
. "$selftests/system.sh"

need CONFIG_BLK_DEV_NULL_BLK CONFIG_EXT4_FS CONFIG_OVERLAY_FS
load_vdisk
null_disk 32 512
mkfs.ext4 -q -O ^has_journal "$DISK"
lower=$DISK
system_root
ok $? 'the product is installed'

# A base on a file system of its own; names that systemd, the shell, or a format would take for something else
mkdir -p "$root/mnt/vd" "$root/etc/vdisk/fetchd" "$root/data" "$root/var/lib/vdisk"
hard=$'/mnt/vd/a b%i$HOME"c\'d;\\x41'
mount "$lower" "$root/mnt/vd"
head -c 4M /dev/urandom >"$root/mnt/vd/base"
cp "$root/mnt/vd/base" "$root$hard"
truncate -s 1M "$root/mnt/vd/encrypted"
truncate -s 8M "$root/mnt/vd/data"
mkfs.ext4 -q -O ^has_journal "$root/mnt/vd/data"
umount "$root/mnt/vd"
head -c 2M /dev/urandom >"$root/var/lib/vdisk/image"
head -c 64 /dev/urandom >"$root/etc/vdisk/key"
echo 'vdisk-fetchd:x:991:991::/nonexistent:/bin/false' >>"$root/etc/passwd"
echo 'URL=file:///var/lib/vdisk/image' >"$root/etc/vdisk/fetchd/img-1.conf"
cat >"$root/etc/fstab" <<FSTAB
$lower /mnt/vd ext4 defaults 0 0
/dev/mapper/data /data ext4 defaults 0 0
FSTAB
cat >"$root/etc/vdisktab" <<'TAB'
# the disks of this host
over-lay create overlay ( file /mnt/vd/store ) ( file /mnt/vd/base )
bad noauot zero
secret len=1M crypt cipher:aes-xts-plain64 keyfile:/etc/vdisk/key ( file /mnt/vd/encrypted )
data scan file /mnt/vd/data
hard readonly file /mnt/vd/a\ b%i$HOME"c'd;\\x41
remote create overlay ( file /mnt/vd/remote ) ( blob img-1 len:2M uid:991 )
top create overlay ( file /mnt/vd/top ) ( block /dev/mapper/over-lay )
later noauto,len=1M ram
gone nofail file /mnt/vd/none
lost - zero (
TAB
cat >"$root/probe" <<'PROBE'
systemctl is-active vdisk@{over-lay,secret,data,hard,remote,top,later,gone}.service vdisk.target |
	xargs echo "$(stat -c %U /var/lib/vdisk-fetchd/img-1)"
for disk in over-lay secret data hard remote top later; do
	[[ ! -b /dev/mapper/$disk ]] || echo -n "$disk "
done
echo
first() { head -c 16 "$1" | grep -ao '^boot [0-9]'; }
echo "$(first /dev/mapper/over-lay)/$(first /dev/mapper/secret)/$(first /dev/mapper/remote)/$(cat /data/file 2>&1 | tail -c 10)"
cmp "/mnt/vd/base" /dev/mapper/hard && echo same
cmp -i 4096 "/var/lib/vdisk/image" /dev/mapper/remote && echo same
for disk in over-lay secret remote; do
	echo "boot $1" | dd of=/dev/mapper/$disk conv=fsync status=none
done
echo "boot $1" >/data/file
# A before B
before() {
	local a b
	a=$(systemctl show -P "$2" "$1") b=$(systemctl show -P "$4" "$3")
	((a && b && a <= b)) && echo -n 'yes ' || echo -n "no: $1 $a, $3 $b "
}
up=ActiveEnterTimestampMonotonic begin=InactiveExitTimestampMonotonic
before mnt-vd.mount $up vdisk@over-lay.service $begin
before vdisk@over-lay.service $up local-fs.target $up
before vdisk@over-lay.service $up vdisk@top.service $begin
before vdisk@data.service $begin data.mount $begin
before vdisk-fetchd@img-1.service $up vdisk@remote.service $begin
before vdisk@remote.service $up remote-fs.target $up
before local-fs.target $up vdisk@remote.service $begin
echo
systemctl start vdisk@later.service && blockdev --getsz /dev/mapper/later
systemctl stop vdisk@later.service && ls /dev/mapper | xargs
journalctl -b -o cat -u vdisk@gone.service | grep '^vdisk:'
# The kernel's log has those of the boot before, too.
journalctl -b -o cat -t vdisk-generator | tail -n 2
systemd-analyze verify /run/systemd/generator/vdisk@*.service 2>&1 | grep vdisk | grep -v "'man vdisk"
PROBE
there() { dmsetup ls | sort; grep -c 'logon *vdisk:' /proc/keys; }
before=$(there)
for boot in 1 2; do
	boot "/probe $boot"
	mapfile -t said <"$TMP/said"
	((boot == 2)) && user=fetchd-img-1 || user=vdisk-fetchd
	is "${said[0]}" "$user "'active active active active active active inactive failed active' "boot $boot: the units"
	is "${said[1]}" 'over-lay secret data hard remote top ' "boot $boot: the disks"
	((boot == 2)) && want='boot 1/boot 1/boot 1/boot 1' || want='///directory'
	is "${said[2]}" "$want" "boot $boot: what was written before"
	is "${said[3]} ${said[4]}" 'same same' "boot $boot: a file of a hard name, and a blob"
	is "${said[5]}" 'yes yes yes yes yes yes yes ' "boot $boot: the order"
	is "${said[6]}" 2048 "boot $boot: one with noauto is started"
	is "${said[7]}" 'control data hard over-lay remote secret top' "boot $boot: and stopped"
	is "${said[8]}" 'vdisk: /mnt/vd/none: No such file or directory; is the name right?' "boot $boot: why one is not there"
	[[ ${said[9]} == "/etc/vdisktab:3: 'noauot' is no option; there are "* ]]
	ok $? "boot $boot: the log names the wrong lines"
	is "${said[10]}" '/etc/vdisktab:11: zero: takes no children; the disk is not made. vdisk tab checks the file' "boot $boot: and the other one"
	is "${said[*]:11}" '' "boot $boot: systemd has nothing to say about the units"
	is "$(there)" "$before" "boot $boot: nothing is left"
	((failures == 0)) || comment "$(<"$TMP/said")" "$(<"$TMP/log")"
	# The next time the blob has a user of its own.
	echo 'fetchd-img-1:x:992:992::/nonexistent:/bin/false' >>"$root/etc/passwd"
	mkdir -p "$root/etc/systemd/system/vdisk-fetchd@img-1.service.d"
	printf '[Service]\nUser=fetchd-img-1\n' >"$root/etc/systemd/system/vdisk-fetchd@img-1.service.d/user.conf"
	sed -i 's/uid:991/uid:992/' "$root/etc/vdisktab"
done
done_testing
