# shellcheck shell=bash
# What the tests of systemd and udev share: a root with both, Debian's own, beside the guest's; and systemd as process 1 of
# a namespace in it, with the guest's kernel and devices. Source it after common.sh.
# shellcheck disable=SC2154 # theirs

# system_root: make $root: the guest's files, without its units and rules, below those of the packages; and the product,
# installed by its own Makefiles
system_root() {
	local part
	root=$TMP/root
	mkdir -p "$root" "$TMP/layer"
	mount -t tmpfs layer "$TMP/layer"
	mkdir "$TMP/layer/"{packages,upper,work}
	tar -C "$TMP/layer/packages" -xf "$VDISK_SYSTEM"
	mount -t overlay -o "lowerdir=$TMP/layer/packages:/,upperdir=$TMP/layer/upper,workdir=$TMP/layer/work" root "$root"
	undo=("umount -l $root/usr/lib/udev $root/usr/lib/systemd $root $TMP/layer" "${undo[@]}")
	rm -rf "$root"/etc/{systemd,udev,init.d,rc?.d,fstab,lvm,mdadm,multipath*} "$root"/usr/local/lib/systemd
	mkdir -p "$root"/etc/{systemd,udev}
	cp -a "$TMP/layer/packages/etc/." "$root/etc/"
	for part in systemd udev; do
		mount --bind "$TMP/layer/packages/usr/lib/$part" "$root/usr/lib/$part"
	done
	# Only what concerns disks is looked at: the guests of other tests want no further drivers.
	mkdir -p "$root/etc/systemd/system/systemd-udev-trigger.service.d"
	cat >"$root/etc/systemd/system/systemd-udev-trigger.service.d/block.conf" <<UNIT
[Service]
ExecStart=
ExecStart=/bin/udevadm trigger --action=add --subsystem-match=block --subsystem-match=misc
UNIT
	mkdir -p "$root/etc/systemd/journald.conf.d"
	printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf.d/test.conf"
	# Nor is it judged how fast this machine is.
	mkdir -p "$root/etc/systemd/system.conf.d"
	printf '[Manager]\nDefaultTimeoutStartSec=600\nDefaultTimeoutStopSec=600\n' >"$root/etc/systemd/system.conf.d/test.conf"
	for part in console-getty systemd-binfmt systemd-logind emergency; do
		ln -s /dev/null "$root/etc/systemd/system/$part.service"
	done
	mkdir "$root/etc/systemd/system/multi-user.target.wants"
	ln -s /lib/systemd/system/remote-fs.target "$root/etc/systemd/system/multi-user.target.wants/"
	for part in vdisk systemd fetchd; do
		make -s -C "$selftests/../../tools/$part" install O="${VDISK_BUILD%/*}/selftests" DESTDIR="$root" || return
	done
}

# in_root COMMAND...: as process 1 of a namespace, with the guest's devices
in_root() {
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount --pid --fork --kill-child --cgroup bash -euc '
		root=$1
		shift
		cd "$root"
		mount --rbind /dev dev
		mount --rbind /sys sys
		mount --rbind /lib/modules lib/modules
		mount -t proc proc proc
		mount -t tmpfs -o mode=755 run run
		pivot_root . mnt
		umount -l /mnt
		exec "$@"
	' bash "$root" "$@"
}

# boot SCRIPT [SECONDS]: systemd comes up as far as multi-user.target, runs it (a file in $root), and powers off. What it says is in
# $TMP/said, what systemd says in $TMP/log.
boot() {
	local seconds=${2:-600}
	cat >"$root/etc/systemd/system/probe.service" <<UNIT
[Unit]
After=multi-user.target vdisk.target
Wants=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash -c "bash $1 >/said 2>&1"
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=$seconds
UNIT
	rm -f "$root/said" "$TMP/said"
	timeout -k 5 $((seconds + 50)) bash -c "$(declare -f in_root); root=$root; in_root /lib/systemd/systemd --system \
		--unit=probe.service --log-target=console --show-status=no" >"$TMP/log" 2>&1
	# Where nothing was in the way, that has ended with all read-only.
	mount -o remount,rw "$root"
	cp "$root/said" "$TMP/said" || {
		comment 'systemd ran no probe; it says:' "$(tail -n 40 "$TMP/log")"
		: >"$TMP/said"
	}
}
