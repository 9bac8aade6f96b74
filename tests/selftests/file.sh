# shellcheck shell=bash
# What the tests of file share on top of common.sh.

mnt=$TMP/mnt
mkdir -p "$mnt"

# make_fs TYPE DISK: on $mnt
make_fs() {
	undo=("umount $mnt" "${undo[@]}")
	case $1 in
	ext4) mkfs.ext4 -qF -b 4096 "$2" ;;
	xfs) mkfs.xfs -qf "$2" >/dev/null ;;
	btrfs) mkfs.btrfs -qf "$2" >/dev/null ;;
	tmpfs)
		mount -t tmpfs tmpfs "$mnt"
		return
		;;
	esac
	modprobe -q "$1"
	mount -t "$1" "$2" "$mnt"
}

# direct_tmp: $TMP is on a file system with direct I/O from now on: that of 6.1's tmpfs has none
direct_tmp() {
	loop_disk 256 512
	make_fs ext4 "$DISK"
	TMP=$mnt
}

# file_systems: those that this kernel has
file_systems() {
	local fs
	for fs in EXT4_FS XFS_FS BTRFS_FS TMPFS; do
		has_config "CONFIG_$fs" || continue
		fs=${fs%_FS}
		echo "${fs,,}"
	done
}

allocated() { stat -c %b "$1"; }
